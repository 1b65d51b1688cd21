"""The data types of OV-mini as nano's stages batch them: small canvases, mosaics, 12 concepts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from train.data.readers.ov_mini import (
    detection_samples,
    grounding_samples,
    pair_samples,
    pseudo_boxed_samples,
    tag_samples,
)
from train.data.sample import Sample
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.experiment import Readers, Stream, Volume
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs_config import TAGS, PairsConfig

DETECTION, PHRASES, PAIRS, CAPTIONS, TAGGED = 3_380, 7_559, 40_096, 37_957, 2_139
"""Photos or captions of each data type that may be trained on."""
_PSEUDO_BOXED = 1_711
_TAG_REPEAT = 3.0  # ImageNet is shown three times an epoch in the paper's appendix
_CONCEPTS = 12


@dataclass(frozen=True)
class Canvas:
    """How boxed photos are shown.

    Attributes:
        sizes: long sides of the canvases, in pixels.
        mosaic: share of mosaics of four photos.
        mosaic_size: side of a mosaic, in pixels.
        scale: of the photo on its canvas.
    """

    sizes: tuple[int, ...]
    mosaic: float
    mosaic_size: int
    scale: tuple[float, float]

    def batches(self) -> BatchConfig:
        """Batches of 16."""
        return BatchConfig(
            batch=16, sizes=self.sizes, mosaic=self.mosaic, mosaic_size=self.mosaic_size
        )


SMALL_THINGS = Canvas((224, 320, 448), 0.6, 416, (0.35, 1.6))
"""Many small things: captions box large ones, and people ask for both."""


def detection(canvas: Canvas = SMALL_THINGS, rank: float = 0.0, quality: float = 0.0) -> Stream:
    """Photos with boxed classes.

    Args:
        canvas: how they are shown.
        rank: weight of the ranking loss.
        quality: weight of the losses of the foreground and the IoU branch.
    """
    return Stream(
        "detection",
        detection_samples,
        BoxesConfig(concepts=_CONCEPTS, rank=rank, quality=quality),
        canvas.batches(),
        Augmentation(scale=canvas.scale),
        own_concepts=_CONCEPTS,
        cache_gib=1.0,
        volume=Volume(DETECTION),
    )


def grounding(
    canvas: Canvas = SMALL_THINGS, weight: float = 1.0, rank: float = 0.0, quality: float = 0.0
) -> Stream:
    """Photos with boxed phrases; they localise, since most boxes of OV-mini are theirs."""
    return replace(
        detection(canvas, rank, quality),
        name="grounding",
        data=grounding_samples,
        weight=weight,
        cache_gib=2.0,
        volume=Volume(PHRASES),
    )


def pairs(
    data: Readers = pair_samples,
    volume: int = PAIRS,
    weight: float = 0.3,
    task: PairsConfig | None = None,
) -> Stream:
    """Image-text pairs; at weight 0.3 boxes have three of four steps, as about in the paper."""
    return Stream(
        "pairs",
        data,
        replace(task or PairsConfig(), micro_batch=16),
        BatchConfig(batch=64, sizes=(160,), square=True),
        Augmentation(scale=(0.9, 1.1), squash=True),
        weight=weight,
        own_concepts=16,
        volume=Volume(volume),
    )


def captions(weight: float = 0.3) -> Stream:
    """Pairs with a caption only."""
    return pairs(caption_samples, CAPTIONS, weight)


def tags(weight: float = 0.3) -> Stream:
    """Photos with a class name as pairs."""
    stream = pairs(repeated_tag_samples, round(_TAG_REPEAT * TAGGED), weight, TAGS)
    return replace(stream, name="tags", cache_gib=0.5)


def pseudo_boxed(canvas: Canvas) -> Stream:
    """Photos with a class name and the box found for it: they teach names, not places."""
    return Stream(
        "named",
        pseudo_boxed_samples,
        BoxesConfig(concepts=_CONCEPTS, localise=False),
        canvas.batches(),
        Augmentation(scale=(0.4, 1.3)),
        weight=2.0,
        own_concepts=_CONCEPTS,
        cache_gib=0.5,
        volume=Volume(_PSEUDO_BOXED),
    )


def caption_samples(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    """The pairs of `pair_samples` that have a caption, each once an epoch."""
    samples = [sample for sample in pair_samples(root, cache)[0] if sample.caption]
    return samples, [1.0] * len(samples)


def repeated_tag_samples(root: Path, _: Path) -> tuple[list[Sample], list[float]]:
    """`tag_samples`, each three times an epoch."""
    samples = tag_samples(root)
    return samples, [_TAG_REPEAT] * len(samples)
