"""Batches ready for the task, decoded and augmented ahead of the training step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data.pictures import decode
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
from train.data.turns import turn

logger = logging.getLogger(__name__)
_GIB = 1 << 30


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch.

    Attributes:
        step: of its stream, counted from 0.
        pixels: (B, H, W, 3) uint8 RGB.
        views: B of them, without their pixels.
        slots: places of the B canvases in the batch of all processes.
        photos: photos on the canvases.
        stream: the data type it belongs to.
    """

    step: int
    pixels: Tensor
    views: tuple[View, ...]
    slots: tuple[int, ...]
    photos: int
    stream: str = ""


class Batches(Dataset[Batch]):
    """Index = step. Photos stay decoded, up to `cache_gib`; bad ones are skipped by name."""

    def __init__(
        self,
        samples: Sequence[Sample],
        sampler: Sampler,
        augmentation: Augmentation,
        *,
        seed: int,
        fill: tuple[int, int, int],
        most_concepts: int,
        cache_gib: float = 4.0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._samples, self._sampler, self._augmentation = samples, sampler, augmentation
        self._seed, self._fill, self._most_concepts = seed, fill, most_concepts
        self._rank, self._world = rank, world
        self._cache: dict[Path, Image] = {}
        self._room = cache_gib * _GIB
        self._bad: set[int] = set()

    def __getitem__(self, step: int) -> Batch:
        plan = self._sampler.plan(step)
        views, photos = [], 0
        mine = list(enumerate(plan.slots))[self._rank :: self._world]
        for slot, members in mine:
            rng = np.random.default_rng((self._seed, 2, step, slot))
            if len(members) == 1:
                view = self._view(members[0], plan.canvas, rng)
            else:
                places = cells(plan.canvas, rng)
                parts = [
                    self._view(index, (width, height), rng)
                    for index, (_, _, width, height) in zip(members, places, strict=True)
                ]
                view = mosaic(parts, places, plan.canvas)
            views.append(drop_concepts(view, self._most_concepts * len(members), rng))
            photos += len(members)
        pixels = torch.from_numpy(np.stack([view.pixels for view in views]))
        light = tuple(replace(view, pixels=view.pixels[:0]) for view in views)
        return Batch(step, pixels, light, tuple(slot for slot, _ in mine), photos)

    def _view(self, index: int, canvas: tuple[int, int], rng: np.random.Generator) -> View:
        sample = self._samples[index]
        image = self._image(index, sample)
        if image is None:
            width, height = canvas
            blank = np.full((height, width, 3), self._fill, np.uint8)
            empty = np.zeros((0, 4), np.float32)
            return View(blank, empty, (), np.zeros((0, 0), bool), False)
        if not sample.width:
            sample = replace(sample, width=image.shape[1], height=image.shape[0])
        return random_view(sample, image, canvas, self._augmentation, rng, self._fill)

    def _image(self, index: int, sample: Sample) -> Image | None:
        # A photo may stand in several samples, one a caption.
        key = sample.image if isinstance(sample.image, Path) else None
        if key in self._cache:
            return self._cache[key]
        image = decode(sample.image)
        unlike = image is not None and image.shape[:2] != (sample.height, sample.width)
        if image is None or (unlike and sample.width):
            if index not in self._bad:
                self._bad.add(index)
                found = "not readable"
                if image is not None:
                    found = f"{image.shape[1]}×{image.shape[0]} pixels"
                logger.warning("skipped %s: %s (%d so far)", sample.name, found, len(self._bad))
            return None
        if key and image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[key] = image
        return image


class Mixture(Dataset[Batch]):
    """Index = step of the run: the batch of whichever stream has its turn then."""

    def __init__(
        self, streams: Mapping[str, Batches], shares: tuple[float, ...], seed: int
    ) -> None:
        self._streams, self._shares, self._seed = dict(streams), shares, seed

    def __getitem__(self, step: int) -> Batch:
        now = turn(step, self._shares, self._seed)
        name = list(self._streams)[now.stream]
        return replace(self._streams[name][now.index], stream=name)


def load(batches: Dataset[Batch], steps: range, workers: int) -> Iterator[Batch]:
    """Batches of `steps` in order; with workers, decoded ahead in other processes."""
    ahead = {"prefetch_factor": 4} if workers else {}
    # Its own generator: the global one belongs to the model's dropout.
    yield from DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        worker_init_fn=_quiet,
        generator=torch.Generator(),
        **ahead,  # type: ignore[arg-type]
    )


def _quiet(_: int) -> None:
    # A worker is one process beside the training threads; its libraries must not start more.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
