"""Predictor: a model on a device with its caches; pictures and words in, detections out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from detclipv2.inference.adapted_classes import AdaptedClasses, AdaptedScores
from detclipv2.inference.alignment import (
    Alignment,
    AlignSettings,
    align,
    phrases_of,
    similarity_maps,
)
from detclipv2.inference.base_detector import BaseDetector
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.device import choose_device
from detclipv2.inference.distractors import distractors_for
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.fair_lock import FairLock
from detclipv2.inference.fingerprints import adapted_fingerprint, check_adapted, region_fingerprints
from detclipv2.inference.images import ImageSource, open_image
from detclipv2.inference.multi_scale.encoder import MultiScaleEncoder
from detclipv2.inference.postprocess import ANCHOR_SHARE, MAX_CANDIDATES, Candidates
from detclipv2.inference.region_scores import RegionScores
from detclipv2.inference.runtimes.openvino import OpenVINOTower, Runtime, choose_encoder
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.embedding_file import default_cache_dir
from detclipv2.language.phrases import Phrase
from detclipv2.language.prompt_reader import PromptReader, Prompts
from detclipv2.language.text_cache import TextEmbeddings
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, FLOOR, DetectSettings, Looks, check_share

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.model import DetCLIPv2


class Predictor(BaseDetector[EncodedImage]):
    """Open-vocabulary detection with one model. Thread-safe.

    Boxes are xyxy in pixels of the upright original, `class_id` indexes the caller's list.
    The model is moved to the device and into evaluation; build a new Predictor after training it
    further, since text embeddings are cached under the weights found here.

    Attributes:
        model: the model, on `device`.
        device: where the towers run.
        calibration: of the scores.
        runtime: what runs the image tower.
        lock: held while a tower runs; detectors that share one never run at the same time.
        adapted_scores: of learned classes, see `adapted`; None for the words alone.
    """

    def __init__(
        self,
        model: DetCLIPv2,
        *,
        device: str = "auto",
        threads: int | None = None,
        cache_dir: Path | None = None,
        anchor_share: float = ANCHOR_SHARE,
        lock: FairLock | None = None,
        runtime: Runtime = "torch",
    ) -> None:
        """Prepare `model`.

        Args:
            model: the detector.
            device: a torch device, or "auto": CUDA, else Apple's MPS, else the CPU.
            threads: CPU threads of the whole process, or None for torch's choice.
            cache_dir: folder of the text embeddings, or None for `$DETCLIPV2_CACHE` or the system's
                cache folder.
            anchor_share: see `postprocess.choose_anchors`; 1 compares all anchors with all words.
            lock: of another detector, to take turns with it; None for one of its own.
            runtime: what runs the image tower, see `choose_encoder`. OpenVINO takes some seconds
                the first time it meets a checkpoint.
        """
        if not 0 < anchor_share <= 1:
            raise ValueError(f"anchor_share must lie above 0 and up to 1, got {anchor_share!r}")
        self.device = choose_device(device)
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads must be at least 1, got {threads!r}")
            torch.set_num_threads(threads)
        # Depthwise convolutions run several times faster channels-last.
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        folder = cache_dir or default_cache_dir()
        tower = choose_encoder(self.model.for_inference(), runtime, folder / "openvino")
        serving = model.serving
        serving.check(model.config)
        self.calibration = Calibration(serving.score_scale, serving.score_bias)
        self._scores = RegionScores(self.model, self.calibration, anchor_share)
        self.adapted_scores: AdaptedScores | None = None
        self._texts = TextEmbeddings(self.model, folder)
        self._reader = PromptReader(self.model)
        self.lock = lock or FairLock()
        self.runtime: Runtime = tower.runtime if isinstance(tower, OpenVINOTower) else "torch"
        self._encoder = MultiScaleEncoder(
            tower, model.config.image, serving, self.device, self.lock
        )

    @property
    def image_passes(self) -> int:
        """How often the image tower has run."""
        return self._encoder.passes

    @property
    def name(self) -> str:
        """The model's name in its configuration."""
        return self.model.config.name

    @property
    def list_defaults(self) -> DetectSettings:
        """See `ServingConfig.list_defaults`."""
        return self.model.serving.list_defaults

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that boxes come from, also of whether the image tower rounds."""
        return self.fingerprints[0]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """`fingerprint`, and what it was in version 0.1, which runs of that time carry."""
        if self.adapted_scores is None:
            return self.region_fingerprints
        return (adapted_fingerprint(self.region_fingerprints[0], self.adapted_scores.adapted),)

    @cached_property
    def region_fingerprints(self) -> tuple[str, ...]:
        """Likewise of all that regions come from: without learned classes."""
        return region_fingerprints(self.model, self.runtime)

    def adapted(self, classes: AdaptedClasses | None) -> Predictor:
        """The same towers and caches, with learned classes; None for the words alone.

        Raises:
            ValueError: the classes were learned from another checkpoint's regions.
        """
        if classes is not None:
            check_adapted(self.model, classes)
        other = copy.copy(self)
        other.adapted_scores = None if classes is None else AdaptedScores(self._scores, classes)
        return other

    def learned_thresholds(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with the thresholds that were learned, where a class has none."""
        if self.adapted_scores is None or not self.adapted_scores.knows(vocabulary):
            return vocabulary
        return self.adapted_scores.thresholds(vocabulary, self.encode_texts(vocabulary.texts))

    def vocabulary(self, prompts: Prompts) -> Vocabulary:
        """What the model makes of prompts: its `notes` say what was merged, left out or cut off.

        Of written text and of a `Vocabulary`, classes that the text tower reads alike become one:
        each of their boxes would come twice.

        Raises:
            VocabularyError: prompts that cannot be used; of a list of names, whose places count,
                also two that are read alike.
        """
        return self.learned_thresholds(self._reader.vocabulary(prompts))

    def checked(self, prompts: Prompts) -> Vocabulary:
        """`vocabulary`, which a caller's own `Vocabulary` has been through."""
        return prompts if isinstance(prompts, Vocabulary) else self.vocabulary(prompts)

    def encode_image(
        self, image: ImageSource, size: int | None = None, tiles: int = 1, looks: Looks = "thorough"
    ) -> EncodedImage:
        """Run the image tower; `detect` and `candidates` cost no further pass.

        Args:
            image: as for `predict`.
            size: see `DetectSettings`; it is that of every tile, too.
            tiles: see `DetectSettings` and `lay_tiles`.
            looks: see `DetectSettings`.
        """
        return self._encoder.closely(open_image(image), size, tiles, looks)

    def first_look(
        self, image: ImageSource, size: int | None = None, looks: Looks = "thorough"
    ) -> EncodedImage:
        """`encode_image` without any closer look, sooner; that is all `align` needs."""
        return self._encoder.first(open_image(image), size, looks)

    def candidates(
        self,
        encoded: EncodedImage,
        prompts: Prompts,
        *,
        floor: float = FLOOR,
        most: int = MAX_CANDIDATES,
        template: str | None = None,
    ) -> Candidates:
        """Boxes for `postprocess.select`, which then follows thresholds without the model.

        Args:
            encoded: from `encode_image`.
            prompts: as for `predict`.
            floor: the lowest threshold that will be asked for; lower costs more.
            most: at most so many boxes, the best ones.
            template: the sentence round each text, "{}" for its place; None for the model's own.
        """
        vocabulary = Vocabulary.coerce(prompts)
        check_share("floor", floor)
        concepts = self.encode_texts(vocabulary.texts, template)
        scores = self.adapted_scores or self._scores
        return scores.candidates(encoded, vocabulary, concepts, floor=floor, most=most)

    def score_table(self, encoded: EncodedImage, prompts: Prompts) -> ScoreTable:
        """All scores of the classes of `prompts`: any threshold then follows without the model."""
        vocabulary = Vocabulary.coerce(prompts)
        scores = self.adapted_scores or self._scores
        return scores.table(encoded, vocabulary, self.encode_texts(vocabulary.texts))

    def encode_texts(self, texts: Sequence[str], template: str | None = None) -> Tensor:
        """(K, D) embeddings of K prompts on the CPU, from the caches where they have them.

        Args:
            texts: K of them.
            template: the sentence round each, "{}" for its place; None for the model's own.
        """
        with self.lock:
            return self._texts.encode(texts, template)

    def score(self, encoded: EncodedImage, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Everything the model says of an encoded picture, nothing suppressed or left out.

        Args:
            encoded: from `encode_image`.
            texts: T names or phrases, each for itself; equal ones are no mistake.

        Returns:
            Boxes (A, 4), xyxy in the original's pixels, cut at its borders, and scores (A, T) in
            0..1. Boxes in the padding have no area then.
        """
        return self._scores.all(encoded, self.encode_texts(texts))

    def propose(
        self, encoded: EncodedImage, prompts: Prompts, *, max_boxes: int = DEFAULTS.max_boxes
    ) -> sv.Detections:
        """Boxes of anything that looks like one of `prompts`, without classes, best first.

        What a box holds matters less here than that it holds one whole thing: it is ranked by
        `Regions.objectness`, where detections are by `Regions.localisation`.
        """
        concepts = self.encode_texts(Vocabulary.coerce(prompts).texts)
        return self._scores.propose(encoded, concepts, max_boxes)

    def align(
        self,
        image: ImageSource | EncodedImage,
        words: str | Sequence[str | Phrase],
        settings: AlignSettings | None = None,
        *,
        caption: str = "",
        whole: bool = False,
    ) -> Alignment:
        """Which regions of a picture the phrases of a caption found, as training sees it.

        Args:
            image: a picture, or an encoded one, for which the image tower does not run. Of closer
                looks nothing is taken.
            words: a caption, whose noun phrases are taken, or the phrases themselves.
            settings: how they are compared; None for the paper's way.
            caption: the text that given phrases stand in; `words` where that is a caption.
            whole: let the whole caption be a phrase as well, as training does.

        Raises:
            ValueError: no phrase, a blank one, or regions ranked by a branch the model lacks.
            ImageError: a picture that cannot be used.
            PhraseModelError: a caption, but no spaCy pipeline.
        """
        caption = words if isinstance(words, str) else caption
        phrases = phrases_of(words, caption if whole else "")
        encoded = image if isinstance(image, EncodedImage) else self.first_look(image)
        texts = [phrase.text for phrase in phrases]
        concepts = self.encode_texts([*texts, *distractors_for(texts)])
        return align(self.model, encoded, phrases, concepts, settings or AlignSettings(), caption)

    def similarity_maps(self, encoded: EncodedImage, phrases: Sequence[str]) -> list[Tensor]:
        """How like each of P phrases every place of the pyramid is: (P, h, w) a level.

        See `alignment.similarity_maps`.
        """
        return similarity_maps(self.model, encoded, self.encode_texts(phrases))
