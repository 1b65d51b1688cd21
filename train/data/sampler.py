"""Which photos make which batch: a pure function of the seed and the step.

Nothing here has a state, so a run that resumes at step n sees what the uninterrupted run saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from train.data.sample import Sample
from train.data.shards.reader import Shards, epoch_order

_MULTIPLE = 32
# Photos share canvases of the nearest of these shapes, lying or upright; the widest one is for
# photos whose short side is what is given.
_RATIOS = (1.0, 4 / 3, 5 / 3)


@dataclass(frozen=True)
class BatchConfig:
    """Sizes of batches and canvases.

    Attributes:
        batch: photos (canvases, with mosaic) in a batch over all ranks.
        sizes: long sides of the canvases, one drawn a batch; with `limit` their short sides.
        limit: longest side, if `sizes` are short ones: 800 and 1344 are the paper's 1333×800.
        mosaic: share of batches made of mosaics of four photos.
        mosaic_size: side of a mosaic's square canvas; such a batch has half as many canvases.
        square: all canvases are square, whatever the photos' shapes.
    """

    batch: int = 16
    sizes: tuple[int, ...] = (256,)
    limit: int = 0
    mosaic: float = 0.0
    mosaic_size: int = 320
    square: bool = False

    def __post_init__(self) -> None:
        for size in (*self.sizes, self.mosaic_size):
            if size < 64 or size % _MULTIPLE:
                raise ValueError(f"canvas sizes are multiples of {_MULTIPLE} from 64, got {size}")
        if self.limit % _MULTIPLE or 0 < self.limit < max(self.sizes):
            raise ValueError(
                f"limit is 0, or a multiple of {_MULTIPLE} from the largest of sizes "
                f"({max(self.sizes)}) on, got {self.limit}"
            )
        if self.batch < 1:
            raise ValueError(f"batch must be positive, got {self.batch}")
        if not 0 <= self.mosaic <= 1:
            raise ValueError(f"mosaic is a share between 0 and 1, got {self.mosaic}")


@dataclass(frozen=True)
class BatchPlan:
    """One batch: its canvas (width, height), and for each slot its photos: one, or four."""

    step: int
    canvas: tuple[int, int]
    slots: tuple[tuple[int, ...], ...] = field(repr=False)


class Sampler:
    """Plans over `samples`: every epoch each sample `repeats` times, batched by aspect ratio."""

    def __init__(
        self, samples: Sequence[Sample], repeats: Sequence[float], config: BatchConfig, seed: int
    ) -> None:
        if len(repeats) != len(samples):
            raise ValueError(f"{len(repeats)} repeats for {len(samples)} samples")
        self._config, self._seed = config, seed
        self._shards = samples if isinstance(samples, Shards) else None
        self._shape: NDArray[np.int64] = np.zeros(len(samples), np.int64)
        if config.square:
            pass  # one shape for all
        elif self._shards is not None:
            self._shape = np.array([self._shape_of(*size) for size in self._shards.sizes])
        else:
            self._shape = np.array([self._shape_of(s.width, s.height) for s in samples])
        self._repeats = np.asarray(repeats, dtype=np.float64)
        self._weights = self._of_mosaics(samples) if config.mosaic else []
        if self._shards is not None and not (self._repeats == 1).all():
            raise ValueError("photos of shards are shown once an epoch; repeats must be 1")
        self.steps_per_epoch = sum(
            -(-int(np.ceil(self._repeats[self._shape == k].sum())) // config.batch)
            for k in np.unique(self._shape)
        )

    def plan(self, step: int) -> BatchPlan:
        """The batch of a step, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        shape, indices = self._epoch(epoch)[position]
        rng = np.random.default_rng((self._seed, 1, step))
        if rng.random() < self._config.mosaic:
            side = self._config.mosaic_size
            mosaics = (self._mosaic(rng) for _ in range(max(1, len(indices) // 2)))
            return BatchPlan(step, (side, side), tuple(mosaics))
        size = int(rng.choice(self._config.sizes))
        canvas = (size, size) if self._config.square else canvas_of(shape, size, self._config.limit)
        return BatchPlan(step, canvas, tuple((int(i),) for i in indices))

    def _of_mosaics(self, samples: Sequence[Sample]) -> list[NDArray[np.float64]]:
        """Repeats summed up over the photos: of exhaustive ones, of the others."""
        sparse = np.zeros(len(samples), bool)
        if self._shards is None:  # a set in shards is of one kind
            sparse[:] = [not s.exhaustive and not s.complete for s in samples]
        return [np.where(sparse == kind, self._repeats, 0).cumsum() for kind in (False, True)]

    def _mosaic(self, rng: np.random.Generator) -> tuple[int, ...]:
        # One photo that is not exhaustive makes the whole canvas so: such photos keep together.
        shares = [some[-1] for some in self._weights]
        weights = self._weights[int(rng.random() * sum(shares) >= shares[0])]
        drawn = np.searchsorted(weights, rng.random(4) * weights[-1], side="right")
        return tuple(drawn.tolist())

    def _shape_of(self, width: int, height: int) -> int:
        if not (width and height):  # not known: the squarest canvas
            return 0
        ratios = _RATIOS if self._config.limit else _RATIOS[:2]
        wide = math.log(max(width, height) / min(width, height))
        nearest = min(range(len(ratios)), key=lambda i: abs(wide - math.log(ratios[i])))
        return nearest if width > height else -nearest

    @lru_cache(maxsize=2)  # noqa: B019 - a sampler lives as long as its run
    def _epoch(self, epoch: int) -> list[tuple[int, np.ndarray]]:  # type: ignore[type-arg]
        rng = np.random.default_rng((self._seed, 0, epoch))
        if self._shards is not None:
            return self._in_order_of_the_disk(epoch)
        batches = []
        for shape in np.unique(self._shape):
            members = np.flatnonzero(self._shape == shape)
            wanted = self._repeats[members]
            total = -(-int(np.ceil(wanted.sum())) // self._config.batch) * self._config.batch
            # Whole repeats for sure, the fraction by chance, topped up to full batches.
            count = wanted.astype(int) + (rng.random(len(members)) < wanted % 1)
            order = rng.permutation(np.repeat(members, count))
            extra = rng.choice(members, max(0, total - len(order)), p=wanted / wanted.sum())
            order = np.concatenate((order, extra))[:total]
            batches += [(int(shape), chunk) for chunk in order.reshape(-1, self._config.batch)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _in_order_of_the_disk(self, epoch: int) -> list[tuple[int, np.ndarray]]:  # type: ignore[type-arg]
        """Batches of one shape each, in the order in which their last photos come."""
        assert self._shards is not None
        order = epoch_order(self._shards.counts, seed=self._seed, epoch=epoch)
        size = self._config.batch
        batches = []
        for shape in np.unique(self._shape):
            places = np.flatnonzero(self._shape[order] == shape)
            # The first ones once more fill the last batch.
            places = np.resize(places, -(-len(places) // size) * size)
            batches += [
                (int(chunk.max()), int(shape), order[chunk]) for chunk in places.reshape(-1, size)
            ]
        batches.sort(key=lambda batch: batch[:2])
        return [(shape, members) for _, shape, members in batches]


def canvas_of(shape: int, size: int, limit: int = 0) -> tuple[int, int]:
    """(width, height) of a canvas, multiples of 32.

    Args:
        shape: 0 square, 1 lying 4:3, 2 lying 5:3; below zero the same upright.
        size: its long side; its short one with `limit`. Square ones have about the area of the
            others, so that a batch costs the same.
        limit: of the long side, see `BatchConfig`.
    """
    ratio = _RATIOS[abs(shape)]
    if limit:
        sides = min(limit, _round(size * ratio)), size
    elif shape == 0:
        sides = _round(size * 0.875), _round(size * 0.875)
    else:
        sides = size, _round(size / ratio)
    return sides if shape >= 0 else (sides[1], sides[0])


def _round(side: float) -> int:
    return max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE)
