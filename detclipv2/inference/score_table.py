"""All scores of one picture under one vocabulary: what a moved threshold needs, without a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Unpack

import torch
from torch import Tensor

from detclipv2.geometry.boxes import clip
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.postprocess import (
    Candidates,
    best_per_class,
    candidates_for,
    class_thresholds,
    select_above,
)
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings

if TYPE_CHECKING:
    import supervision as sv

_CHUNK = 1 << 20  # scores that are computed at once, in doubles
_AT_HAND = 20_000
"""The best scores that are kept in order: at a low threshold nearly all of millions pass, and the
best thousand of them must not take longer than a frame of the page."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The score of every box for every class, nothing suppressed.

    Attributes:
        boxes: (A, 4) xyxy in pixels of the upright original, clipped to it.
        scores: (A, K) in 0..1; -1 where a negative is more like the box, or it has no area.
        vocabulary: the K returned classes.
        soft_nms: see `ServingConfig.soft_nms`.
    """

    boxes: Tensor
    scores: Tensor
    vocabulary: Vocabulary
    soft_nms: float = 0.0

    @classmethod
    def of_logits(
        cls,
        boxes: Tensor,
        logits: Tensor,
        localisation: Tensor,
        vocabulary: Vocabulary,
        image_size: tuple[int, int],
        calibration: Calibration,
        soft_nms: float,
    ) -> ScoreTable:
        """The table behind `find_candidates`, whose arguments these are."""
        logits = best_per_class(logits, vocabulary)
        count = len(vocabulary.returned)
        strength = localisation.double().sigmoid()
        scores = torch.empty(len(logits), count)
        step = max(1, _CHUNK // max(1, count))
        for start in range(0, len(logits), step):
            rows = slice(start, start + step)
            raw = (logits[rows, :count].double().sigmoid() * strength[rows, None]).sqrt()
            scores[rows] = calibration.apply(raw).float()
        return cls._masked(clip(boxes, *image_size), scores, logits, vocabulary, soft_nms)

    @classmethod
    def of_scores(cls, boxes: Tensor, scores: Tensor, vocabulary: Vocabulary) -> ScoreTable:
        """The table behind `score_candidates`, whose arguments these are."""
        scores = best_per_class(scores, vocabulary)
        own = scores[:, : len(vocabulary.returned)].float().clone()
        return cls._masked(boxes, own, scores, vocabulary, 0.0)

    @classmethod
    def _masked(
        cls, boxes: Tensor, scores: Tensor, alike: Tensor, vocabulary: Vocabulary, soft_nms: float
    ) -> ScoreTable:
        count = scores.shape[1]
        if alike.shape[1] > count:
            scores[alike[:, :count] < alike[:, count:].amax(dim=1, keepdim=True)] = -1
        scores[~(boxes[:, 2:] > boxes[:, :2]).all(dim=1)] = -1
        return cls(boxes, scores, vocabulary, soft_nms)

    @property
    def bytes(self) -> int:
        """About the memory it takes."""
        return self.scores.numel() * self.scores.element_size()

    @cached_property
    def best(self) -> tuple[float | None, ...]:
        """The best score of each returned class; None where a negative has all of its boxes."""
        if not len(self.scores):
            return (None,) * self.scores.shape[1]
        return tuple(None if best < 0 else best for best in self.scores.amax(dim=0).tolist())

    def candidates(
        self, threshold: float, most: int, vocabulary: Vocabulary | None = None
    ) -> Candidates:
        """The `most` best boxes above their class's threshold, by falling score.

        Args:
            threshold: lowest score of classes without a threshold of their own, in 0..1.
            most: at most so many boxes.
            vocabulary: the same classes with other thresholds of their own; the table's by default.
        """
        asked = vocabulary or self.vocabulary
        return self._above(class_thresholds(asked, threshold), most, asked)

    def select(
        self,
        settings: DetectSettings = DEFAULTS,
        *,
        vocabulary: Vocabulary | None = None,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """What `Predictor.detect` gives with these settings.

        Args:
            settings: threshold and suppression.
            vocabulary: as for `candidates`.
            changes: fields of `settings` by name.
        """
        settings, asked = replace(settings, **changes), vocabulary or self.vocabulary
        thresholds = class_thresholds(asked, settings.threshold)
        found = self._above(thresholds, candidates_for(settings.max_boxes), asked)
        return select_above(found, thresholds, settings)

    def _above(self, thresholds: Tensor, most: int, vocabulary: Vocabulary) -> Candidates:
        best = self._at_hand
        passing = best[self._flat[best] >= thresholds[best % len(thresholds)]]
        if len(passing) < most and len(best) < len(self._flat):
            passing = (self.scores >= thresholds).flatten().nonzero()[:, 0]
            if len(passing) > most:
                passing = passing[self._flat[passing].topk(most).indices]
            passing = passing[self._flat[passing].argsort(descending=True, stable=True)]
        found = passing[:most]
        anchors, classes = found // len(thresholds), found % len(thresholds)
        floor = float(thresholds.min())
        return Candidates(
            self.boxes[anchors], self._flat[found], classes, vocabulary, floor, self.soft_nms
        )

    @property
    def _flat(self) -> Tensor:
        return self.scores.flatten()

    @cached_property
    def _at_hand(self) -> Tensor:
        """Places in `_flat` of the best scores, by falling score."""
        best = self._flat.topk(min(_AT_HAND, self.scores.numel())).indices.sort().values
        return best[self._flat[best].argsort(descending=True, stable=True)]
