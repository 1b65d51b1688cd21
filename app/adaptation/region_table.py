"""The regions of several photos as one table, with the numbers that a class is learned from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.adaptation.words import Words
from app.index.regions import KeptRegions
from detclipv2.inference.region_numbers import GEOMETRY, region_numbers


@dataclass(frozen=True, eq=False)
class PhotoRegions:
    """The regions of one photo, and its width and height in pixels of the upright original."""

    regions: KeptRegions
    size: tuple[int, int]

    @property
    def numbers(self) -> NDArray[np.float32]:
        """(R, D + GEOMETRY): embeddings, then logit or logarithms of the others."""
        own = self.regions
        found = region_numbers(
            _tensor(own.embeddings * own.scale[:, None]),
            _tensor(own.localisation),
            _tensor(own.objectness),
            _tensor(own.boxes),
            max(1, self.size[0] * self.size[1]),
        )
        return np.asarray(found.numpy())


def _tensor(numbers: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(numbers, np.float32))


@dataclass(frozen=True, eq=False)
class Standard:
    """What regions of a run are like: (D + GEOMETRY,) means and standard deviations."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, photos: Iterable[PhotoRegions]) -> Standard:
        """From some photos of the run, reviewed or not."""
        every = np.concatenate([photo.numbers for photo in photos])
        return cls(every.mean(axis=0), every.std(axis=0) + 1e-6)


@dataclass(frozen=True, eq=False)
class RegionTable:
    """N regions of P photos.

    Attributes:
        photo: (N,) which photo each is of, in 0..P-1, rising.
        boxes: (N, 4) float32 xyxy in pixels of the upright original.
        numbers: (N, D + GEOMETRY) float32, standardised.
        words: (N, K) float32 logits of the words' scores.
    """

    photo: NDArray[np.int64]
    boxes: NDArray[np.float32]
    numbers: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def of(cls, photos: Sequence[PhotoRegions], standard: Standard, words: Words) -> RegionTable:
        """The table of these photos, in their order."""
        if not photos:
            width, count = len(standard.mean), len(words.names)
            empty = [np.zeros((0, n), np.float32) for n in (4, width, count)]
            return cls(np.zeros(0, np.int64), *empty)
        counts = [len(photo.regions.boxes) for photo in photos]
        numbers = np.concatenate([photo.numbers for photo in photos])
        localisation = np.concatenate([photo.regions.localisation for photo in photos])
        logits = words.logits(numbers[:, :-GEOMETRY], localisation)
        return cls(
            np.repeat(np.arange(len(photos)), counts),
            np.concatenate([photo.regions.boxes for photo in photos]),
            (numbers - standard.mean) / standard.deviation,
            logits,
        )

    def take(self, photos: NDArray[Any]) -> RegionTable:
        """The same of some photos, which are numbered anew in this order."""
        bounds = np.searchsorted(self.photo, np.arange(self.photos + 1))
        rows = [np.arange(bounds[i], bounds[i + 1]) for i in photos.tolist()]
        every = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        photo = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        return RegionTable(photo, self.boxes[every], self.numbers[every], self.words[every])

    @property
    def photos(self) -> int:
        """P, of those that have a region."""
        return int(self.photo[-1]) + 1 if len(self.photo) else 0
