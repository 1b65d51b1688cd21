"""What evaluation and the app ask of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, Unpack

import torch
from torch import Tensor

from detclipv2.inference.images import ImageSource
from detclipv2.inference.postprocess import MAX_CANDIDATES, Candidates
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.prompt_reader import Prompts
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, FLOOR, DetectChanges, DetectSettings, Looks

if TYPE_CHECKING:
    import supervision as sv

Encoded = TypeVar("Encoded")


class Detector(Protocol[Encoded]):
    """An open-vocabulary detector: a picture is encoded once, any number of words follow.

    `Predictor` and `TransformersDetector` follow it; the arguments are described there. Boxes are
    xyxy in pixels of the upright original, `class_id` indexes the caller's list.
    """

    @property
    def name(self) -> str:
        """How users know it."""

    @property
    def fingerprint(self) -> str:
        """Hex digits that change whenever its boxes could."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """`fingerprint`, and those that earlier versions gave the same boxes."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def list_defaults(self) -> DetectSettings:
        """What pre-labeling with a list of classes asks for; see `ServingConfig`."""

    def vocabulary(self, prompts: Prompts) -> Vocabulary:
        """What it makes of prompts; see `Predictor.vocabulary`."""

    def learned_thresholds(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with the thresholds that were learned; see `Predictor.adapted`."""

    def encode_image(
        self, image: ImageSource, size: int | None = None, tiles: int = 1, looks: Looks = "thorough"
    ) -> Encoded:
        """All that needs no words."""

    def candidates(
        self,
        encoded: Encoded,
        prompts: Prompts,
        *,
        floor: float = FLOOR,
        most: int = MAX_CANDIDATES,
    ) -> Candidates:
        """Boxes for `postprocess.select`."""

    def score_table(self, encoded: Encoded, prompts: Prompts) -> ScoreTable:
        """All scores, for thresholds that move."""

    def detect(
        self,
        encoded: Encoded,
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """Boxes of the classes of `prompts`."""

    def predict(
        self,
        image: ImageSource,
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """`encode_image` and `detect`."""

    def score(self, encoded: Encoded, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """All boxes (A, 4), cut at the borders, and their scores (A, T), nothing suppressed."""

    def propose(
        self, encoded: Encoded, prompts: Prompts, *, max_boxes: int = DEFAULTS.max_boxes
    ) -> sv.Detections:
        """Boxes of anything like `prompts`, without classes."""
