"""Classes whose scores were learned from reviewed boxes, for photos that nobody has reviewed.

A class's logit is that of its words' score, moved by a linear function of the region;
`app.adaptation` learns it. Only the regions that an index keeps have such a score, since of others
nothing was learned.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.postprocess import Candidates, choose_anchors
from detclipv2.inference.region_numbers import kept_regions, region_numbers
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.vocabulary import ConceptClass, Vocabulary
from detclipv2.regions import choose

if TYPE_CHECKING:
    from detclipv2.inference.region_scores import RegionScores

EDGE = 11.5
"""Largest logit of a score: 1 - 1e-5."""
_SAME = 0.02
"""Embeddings of the same words differ by less than this from one machine to the next."""


@dataclass(frozen=True, eq=False)
class AdaptedClass:
    """What was learned of one class.

    Attributes:
        name: as users write it.
        words: (t, D) embeddings of its texts at the model's scale; the same name with another
            meaning is another class.
        threshold: lowest score that counts.
        weights: (F + 2,) of the standardised numbers, the words' logit and a constant; None where
            the words' scores stay.
    """

    name: str
    words: Tensor
    threshold: float
    weights: Tensor | None = None


@dataclass(frozen=True, eq=False)
class AdaptedClasses:
    """Classes that were learned from one checkpoint's regions.

    Attributes:
        checkpoint: hex digest of the model.
        mean: (F,) of the regions' numbers, see `region_numbers`.
        deviation: (F,) their standard deviations.
        classes: those that learning changed.
        source: the file that they were read from, an absolute path; empty for none.
    """

    checkpoint: str
    mean: Tensor
    deviation: Tensor
    classes: tuple[AdaptedClass, ...]
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """Hex digits that change whenever a box could."""
        found = hashlib.sha256(self.checkpoint.encode())
        tensors = [self.mean, self.deviation]
        for one in self.classes:
            found.update(f"{one.name!r} {one.threshold!r} {one.weights is None}".encode())
            tensors += [one.words] if one.weights is None else [one.words, one.weights]
        for tensor in tensors:
            found.update(tensor.float().cpu().numpy().tobytes())
        return found.hexdigest()

    @cached_property
    def _named(self) -> dict[str, AdaptedClass]:
        return {one.name: one for one in self.classes}

    def of(self, concepts: Sequence[ConceptClass], words: Tensor) -> list[AdaptedClass | None]:
        """What was learned of each class; None for others, and for other words of the same name.

        Args:
            concepts: K of them.
            words: (T, D) embeddings of their texts in their order, further ones may follow.
        """
        found: list[AdaptedClass | None] = []
        start = 0
        for concept in concepts:
            end = start + len(concept.texts)
            one = self._named.get(concept.name)
            same = one is not None and one.words.shape == words[start:end].shape
            if same and one is not None:
                same = bool((one.words - words[start:end]).abs().max() < _SAME * _largest(one))
            found.append(one if same else None)
            start = end
        return found


def _largest(one: AdaptedClass) -> float:
    return float(one.words.abs().max().clamp(min=1e-6))


def moved_scores(
    scores: Tensor, rows: Tensor, numbers: Tensor, columns: Tensor, weights: Tensor
) -> Tensor:
    """Scores with those of learned classes in place, -1 where a region was not kept: (A, K).

    Args:
        scores: (A, K) the words' scores, -1 where a negative is more like the region.
        rows: (R,) regions that are kept.
        numbers: (R, F) of them, standardised.
        columns: (L,) classes that were learned.
        weights: (L, F + 2) theirs, see `AdaptedClass`.
    """
    least = 1 / (1 + math.exp(EDGE))
    words = scores[rows][:, columns].clamp(least, 1 - least).logit()
    logits = words * (1 + weights[:, -2]) + weights[:, -1] + numbers @ weights[:, :-2].T
    moved = torch.full((scores.shape[0], columns.shape[0]), -1.0).index_copy(
        0, rows, logits.sigmoid()
    )
    return scores.index_copy(1, columns, moved)


@dataclass(frozen=True, eq=False)
class AdaptedScores:
    """`RegionScores` that knows learned classes; boxes of all others stay as they are.

    Attributes:
        by_words: the scores before.
        adapted: what was learned.
    """

    by_words: RegionScores
    adapted: AdaptedClasses

    def knows(self, vocabulary: Vocabulary) -> bool:
        """Whether something was learned of one of its names."""
        return any(one.name in vocabulary.names for one in self.adapted.classes)

    def candidates(
        self,
        encoded: EncodedImage,
        vocabulary: Vocabulary,
        concepts: Tensor,
        *,
        floor: float,
        most: int,
    ) -> Candidates:
        """See `RegionScores.candidates`."""
        if not self.knows(vocabulary):
            return self.by_words.candidates(encoded, vocabulary, concepts, floor=floor, most=most)
        return self.table(encoded, vocabulary, concepts).candidates(floor, most)

    def table(self, encoded: EncodedImage, vocabulary: Vocabulary, concepts: Tensor) -> ScoreTable:
        """See `RegionScores.table`."""
        with torch.inference_mode():
            table = self.by_words.table(encoded, vocabulary, concepts)
            words = self.by_words.words(concepts)
            found = self.adapted.of(vocabulary.returned, words)
            learned = learned_columns(found)
            if learned is None:
                return table
            columns, weights = learned
            share = self.by_words.anchor_share
            regions = choose(
                encoded.regions, choose_anchors(encoded.regions.localisation, 0.0, share)
            )
            rows = kept_regions(regions, table.boxes, words)
            kept = choose(regions, rows)
            numbers = region_numbers(
                kept.embeddings,
                kept.localisation,
                kept.objectness,
                table.boxes[rows],
                encoded.size[0] * encoded.size[1],
            )
            numbers = (numbers - self.adapted.mean) / self.adapted.deviation
            scores = moved_scores(table.scores, rows, numbers, columns, weights)
            scores[~(table.boxes[:, 2:] > table.boxes[:, :2]).all(dim=1)] = -1
            return replace(table, scores=scores)

    def thresholds(self, vocabulary: Vocabulary, concepts: Tensor) -> Vocabulary:
        """The vocabulary with learned thresholds where a class has none of its own."""
        with torch.inference_mode():
            found = self.adapted.of(vocabulary.returned, self.by_words.words(concepts))
        own = {one.name: one.threshold for one in found if one is not None}
        return Vocabulary(
            tuple(
                replace(concept, threshold=own[concept.name])
                if concept.threshold is None and not concept.negative and concept.name in own
                else concept
                for concept in vocabulary.classes
            ),
            vocabulary.notes,
        )


def learned_columns(found: Sequence[AdaptedClass | None]) -> tuple[Tensor, Tensor] | None:
    """Which of K classes have weights, and those: (L,) and (L, F + 2); None where none has."""
    pairs = [
        (k, one.weights)
        for k, one in enumerate(found)
        if one is not None and one.weights is not None
    ]
    if not pairs:
        return None
    return torch.tensor([k for k, _ in pairs]), torch.stack([weights for _, weights in pairs])
