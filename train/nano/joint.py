"""nano on all three data types of OV-mini: boxes, boxed phrases and image-text pairs in turn.

Paper row: Table 4, row 4 in spirit (O365 + GoldG + CC15M), at a thousandth of the size.
Data: eight small detection sets (2,100 photos), flickr8k's phrases (7,600), 40,000 pairs of its
captions and of photos with a class name.
Hardware: 2 CPU cores; up to 5 GiB of decoded photos in memory.
Command: python -m train.pretrain nano_joint root=DATA out=runs/nano_joint
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detclipv2.nano.config import NanoConfig
from detclipv2.serving import ServingConfig
from train.ablations.changes import TAGS, quality
from train.ablations.row import epoch_steps
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
from train.experiment import Experiment, Readers, Stream, Volume
from train.loop.optim import OptimConfig
from train.loop.run import LoopConfig
from train.nano.boxes import NARROW
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs import PairsConfig

_EPOCHS = 3.5
_PSEUDO_BOXED = 1_711
_DETECTION, _PHRASES, _PAIRS, _CAPTIONS, _TAGS = 3_380, 7_559, 40_096, 37_957, 2_139
_BOXES = BatchConfig(batch=16, sizes=(224, 320, 448), mosaic=0.6, mosaic_size=416)
# ImageNet is shown three times an epoch in the paper's appendix.
_TAG_REPEAT = 3.0
# CC3M is that much of CC15M.
_SHARE = (3, 13)


def experiment(smoke: bool = False) -> Experiment:
    """The run; `smoke` shortens it to a few steps."""
    return _experiment([_detection(), _grounding(), _pairs(pair_samples, _PAIRS)], smoke)


def shipped(smoke: bool = False) -> Experiment:
    """The embedded checkpoint's second stage: `init` names the first, a run of `nano_boxes`."""
    base = apart(smoke)
    weights = {"pairs": 0.1, "tags": 0.6}
    streams = [replace(s, weight=weights.get(s.name, s.weight)) for s in base.streams]
    return replace(
        base,
        streams=tuple(streams),
        loop=base.loop if smoke else replace(base.loop, steps=4000),
        optim=replace(base.optim, lr=8e-4, backbone=0.2, warmup=200),
        freeze=5,
    )


def finish(smoke: bool = False) -> Experiment:
    """The embedded checkpoint's last stages: the backbone learns too, but for its stem and C2.

    `init` names the second, then the third. Until here it learned too little, not too much: phrases
    it was trained on it found hardly more often than others (62.6 % against 58.6 %).
    """
    base = shipped(smoke)
    weights = {"grounding": 1.3, "pairs": 0.05, "tags": 0.4}
    streams = [replace(s, weight=weights.get(s.name, s.weight)) for s in base.streams]
    # Mosaics shrink what phrases name; towards the end the network sees photos as people show them.
    streams = [
        replace(s, batches=replace(s.batches, mosaic=0.3)) if s.name == "grounding" else s
        for s in streams
    ]
    return replace(
        base,
        streams=tuple(streams),
        loop=base.loop if smoke else replace(base.loop, steps=3500),
        optim=replace(base.optim, lr=8e-4, backbone=0.3),
        freeze=2,
    )


def polish(smoke: bool = False) -> Experiment:
    """The embedded checkpoint's very last minutes: FPN and head, photos as large as in the app.

    Crops and several scales make things look smaller in training than they are later ("FixRes",
    Touvron et al. 2019).
    """
    base = finish(smoke)
    # Sizes, share of mosaics, scales.
    large = {"grounding": ((416, 448), 0.0, (0.7, 1.3)), "detection": ((320, 448), 0.6, (0.6, 1.4))}

    def enlarge(stream: Stream) -> Stream:
        if smoke or stream.name not in large:
            return stream
        sizes, mosaic, scale = large[stream.name]
        return replace(
            stream,
            batches=replace(stream.batches, sizes=sizes, mosaic=mosaic),
            augmentation=replace(stream.augmentation, scale=scale),
        )

    return replace(
        base,
        streams=tuple(map(enlarge, base.streams)),
        loop=base.loop if smoke else replace(base.loop, steps=360, eval_minutes=0),
        optim=replace(base.optim, lr=4e-4, warmup=30, ema=0.99),
        freeze=7,
    )


def large(smoke: bool = False) -> Experiment:
    """FPN and head once more, on canvases up to 640 px, now with the foreground and IoU branches.

    COCO's photos show many small things: at 640 px an anchor fits what is too small for all of them
    at 448, and a mosaic of that size is as crowded. The new branches serve to rank boxes, in the
    manner of OLN.
    """
    base = polish(smoke)

    def enlarge(stream: Stream) -> Stream:
        if smoke or not isinstance(stream.task, BoxesConfig):
            return stream
        batches = replace(stream.batches, sizes=(320, 448, 576), mosaic=0.4, mosaic_size=640)
        return replace(
            stream, batches=batches, augmentation=replace(stream.augmentation, scale=(0.5, 1.5))
        )

    return quality(
        replace(
            base,
            streams=tuple(map(enlarge, base.streams)),
            loop=base.loop if smoke else replace(base.loop, steps=900),
            optim=replace(base.optim, lr=5e-4, warmup=50, ema=0.995),
        )
    )


def shortcut(smoke: bool = False) -> Experiment:
    """The last stage again, with a shortcut from C4 and C5 to the region embeddings.

    A linear map of C4 and C5, fitted to the boxes of the training data, named 22 % of COCO's boxes
    right together with the head (mean over 80 classes) where the head alone named 19 %.
    """
    base = large(smoke)

    def at_work(stream: Stream) -> Stream:
        if smoke or not isinstance(stream.task, BoxesConfig):
            return stream
        batches = replace(stream.batches, sizes=(320, 448), mosaic=0.4, mosaic_size=512)
        return replace(stream, batches=batches)

    return replace(
        base,
        nano=NanoConfig(shortcut=True),
        streams=tuple(map(at_work, base.streams)),
        loop=base.loop if smoke else replace(base.loop, steps=1500),
        optim=replace(base.optim, lr=8e-4),
    )


def wide(smoke: bool = False) -> Experiment:
    """The last stage once more on EfficientNet-Lite2, with a wider neck and head.

    `init` names what train.nano.swap_backbone made of the stage before. The backbone stays as
    ImageNet left it, so its classifier fits and needs no stages of its own.
    """
    base = shortcut(smoke)
    return replace(
        base,
        model=replace(base.model, backbone="tf_efficientnet_lite2", width=128),
        loop=base.loop if smoke else replace(base.loop, steps=3800),
        optim=replace(base.optim, ema=0.998),
    )


def ranked(smoke: bool = False) -> Experiment:
    """The last stage once more, with a loss for the rank of what a phrase names.

    See `train.tasks.rank_loss`.

    `init` names the mean of the runs of `wide`. With twice the weight and half the steps phrases
    were found as often, but boxes fitted less well.
    """
    base = wide(smoke)
    weights = {"grounding": 0.5, "detection": 0.25}

    def rank(stream: Stream) -> Stream:
        if not isinstance(stream.task, BoxesConfig):
            return stream
        return replace(stream, task=replace(stream.task, rank=weights[stream.name]))

    return replace(
        base,
        streams=tuple(map(rank, base.streams)),
        loop=base.loop if smoke else replace(base.loop, steps=1800),
        optim=replace(base.optim, lr=5e-4),
    )


def partner(smoke: bool = False) -> Experiment:
    """The last stage of the embedded checkpoint's partner: `ranked` on its own, smaller backbone.

    `init` names the last mean before train.nano.swap_backbone. What this leaves goes into a mean
    with it.
    """
    base = ranked(smoke)
    return replace(
        base,
        model=shortcut(smoke).model,
        loop=base.loop if smoke else replace(base.loop, steps=1500),
    )


def pseudo(smoke: bool = False) -> Experiment:
    """`wide` once more, with photos of class names as if they were boxed.

    `init` names the mean of the runs of `wide`; train.nano.pseudo_boxes finds the boxes with it, at
    448 px. One photo a class of ImageNet is what most things of COCO are known from: the pairs'
    loss shows it at 160 px, these as large as boxed ones. They teach names, not places.
    """
    base = wide(smoke)
    named = Stream(
        "named",
        pseudo_boxed_samples,
        BoxesConfig(concepts=12, localise=False),
        base.streams[0].batches,
        Augmentation(scale=(0.4, 1.3)),
        weight=2.0,
        own_concepts=12,
        cache_gib=0.5,
        volume=Volume(_PSEUDO_BOXED),
    )
    return replace(
        base,
        streams=(*base.streams, named),
        loop=base.loop if smoke else replace(base.loop, steps=1700),
        optim=replace(base.optim, lr=6e-4),
    )


def apart(smoke: bool = False, fewer: bool = False) -> Experiment:
    """Captions and class names apart, as tables on data want them; a base, not a run.

    Args:
        smoke: a few steps only.
        fewer: so many of the captions as CC3M is of CC15M.
    """
    captions = _pairs(_captions, _CAPTIONS)
    if fewer:
        captions = _pairs(_some_captions, _CAPTIONS * _SHARE[0] // _SHARE[1])
    return _experiment([_detection(), _grounding(), captions, _tags()], smoke)


def _experiment(streams: Sequence[Stream], smoke: bool) -> Experiment:
    return Experiment(
        model=NARROW,
        serving=ServingConfig(size=320),
        streams=tuple(streams),
        loop=LoopConfig(
            steps=4 if smoke else round(_EPOCHS * epoch_steps(streams)),
            save_minutes=4.0,
            eval_minutes=0 if smoke else 20,
        ),
        optim=OptimConfig(lr=1e-3, text=0.3, warmup=300, floor=0.02, clip=5.0, ema=0.999),
        backbone_weights="package",
        freeze=7,
        threads=2,
    )


def _detection() -> Stream:
    return Stream(
        "detection",
        detection_samples,
        BoxesConfig(concepts=12),
        _BOXES,
        Augmentation(scale=(0.35, 1.6)),
        own_concepts=12,
        cache_gib=1.0,
        volume=Volume(_DETECTION),
    )


def _grounding() -> Stream:
    # Unlike in the paper: at this size most boxes there are come from phrases.
    return Stream(
        "grounding",
        grounding_samples,
        BoxesConfig(concepts=12, localise=True),
        _BOXES,
        Augmentation(scale=(0.35, 1.6)),
        own_concepts=12,
        cache_gib=2.0,
        volume=Volume(_PHRASES),
    )


def _pairs(read: Readers, count: int) -> Stream:
    return Stream(
        "pairs",
        read,
        PairsConfig(micro_batch=16),
        BatchConfig(batch=64, sizes=(160,), square=True),
        Augmentation(scale=(0.9, 1.1), squash=True),
        # Of four steps three are boxes', a little less than in the paper.
        weight=0.3,
        own_concepts=16,
        volume=Volume(count),
    )


def _tags() -> Stream:
    pairs = _pairs(_tag_samples, round(_TAG_REPEAT * _TAGS))
    return replace(pairs, name="tags", task=replace(TAGS, micro_batch=16), cache_gib=0.5)


def _captions(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    samples = [sample for sample in pair_samples(root, cache)[0] if sample.caption]
    return samples, [1.0] * len(samples)


def _some_captions(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    taken, of = _SHARE
    samples = [s for i, s in enumerate(_captions(root, cache)[0]) if i % of < taken]
    return samples, [1.0] * len(samples)


def _tag_samples(root: Path, _: Path) -> tuple[list[Sample], list[float]]:
    samples = tag_samples(root)
    return samples, [_TAG_REPEAT] * len(samples)
