"""Batches ready for the task, decoded and augmented ahead of the training step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data.sample import Sample
from train.data.sampler import Sampler
from train.data.transforms import (
    Augmentation,
    Image,
    View,
    cells,
    drop_concepts,
    mosaic,
    random_view,
)

logger = logging.getLogger(__name__)
_GIB = 1 << 30


@dataclass(frozen=True)
class Batch:
    """`pixels` (B, H, W, 3) uint8 RGB, and for each canvas its view without the pixels."""

    step: int
    pixels: Tensor
    views: tuple[View, ...]
    photos: int


class Batches(Dataset[Batch]):
    """Index = step. Photos stay decoded, up to `cache_gib`; bad ones are skipped by name."""

    def __init__(
        self, samples: Sequence[Sample], sampler: Sampler, augmentation: Augmentation, *,
        seed: int, fill: tuple[int, int, int], most_concepts: int, cache_gib: float = 4.0,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self._samples, self._sampler, self._augmentation = samples, sampler, augmentation
        self._seed, self._fill, self._most_concepts = seed, fill, most_concepts
        self._rank, self._world = rank, world
        self._cache: dict[int, Image] = {}
        self._room = cache_gib * _GIB
        self._bad: set[int] = set()

    def __getitem__(self, step: int) -> Batch:
        plan = self._sampler.plan(step)
        views, photos = [], 0
        for slot, members in list(enumerate(plan.slots))[self._rank :: self._world]:
            rng = np.random.default_rng((self._seed, 2, step, slot))
            if len(members) == 1:
                view = self._view(members[0], plan.canvas, rng)
            else:
                parts = [
                    self._view(index, cell, rng)
                    for index, cell in zip(members, cells(plan.canvas, rng), strict=True)
                ]
                view = mosaic(parts, plan.canvas)
            views.append(drop_concepts(view, self._most_concepts * len(members), rng))
            photos += len(members)
        pixels = torch.from_numpy(np.stack([view.pixels for view in views]))
        light = [View(view.pixels[:0], view.boxes, view.concepts, view.labels, view.exhaustive)
                 for view in views]  # fmt: skip
        return Batch(step, pixels, tuple(light), photos)

    def _view(self, index: int, canvas: tuple[int, int], rng: np.random.Generator) -> View:
        sample = self._samples[index]
        image = self._image(index)
        if image is None:
            width, height = canvas
            blank = np.full((height, width, 3), self._fill, np.uint8)
            empty = np.zeros((0, 4), np.float32)
            return View(blank, empty, (), np.zeros((0, 0), bool), False)
        return random_view(sample, image, canvas, self._augmentation, rng, self._fill)

    def _image(self, index: int) -> Image | None:
        if index in self._cache:
            return self._cache[index]
        sample = self._samples[index]
        bgr = cv2.imread(str(sample.image), cv2.IMREAD_COLOR)
        if bgr is None or bgr.shape[:2] != (sample.height, sample.width):
            if index not in self._bad:
                self._bad.add(index)
                found = "not readable" if bgr is None else f"{bgr.shape[1]}×{bgr.shape[0]} pixels"
                logger.warning("skipped %s: %s (%d so far)", sample.image, found, len(self._bad))
            return None
        image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[index] = image
        return image


def load(batches: Batches, steps: range, workers: int) -> Iterator[Batch]:
    """Batches of `steps` in order; with workers, decoded ahead in other processes."""
    ahead = {"prefetch_factor": 4} if workers else {}
    # Its own generator: the global one belongs to the model's dropout, which must resume exactly.
    yield from DataLoader(
        batches, batch_size=None, sampler=steps, num_workers=workers,
        worker_init_fn=_quiet,
        generator=torch.Generator(), **ahead,  # type: ignore[arg-type]
    )  # fmt: skip


def _quiet(_: int) -> None:
    # A worker is one process beside the training threads; its libraries must not start more.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
