"""The training stages of the embedded checkpoint, each an experiment of its own.

Paper row: Table 4, row 4 in spirit (O365 + GoldG + CC15M), at a thousandth of the size.
Data: OV-mini: eight small detection sets (2,100 photos), flickr8k's phrases (7,600) and captions
(38,000), 2,100 photos with a class name.
Hardware: 2 CPU cores; up to 5 GiB of decoded photos in memory.
Command: python -m train.pretrain nano:boxes root=DATA out=runs/boxes
All of them in their order: python -m train.recipe nano root=DATA out=runs/nano
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detclipv2.config import PRESETS, ModelConfig
from detclipv2.nano.config import NanoConfig
from detclipv2.serving import ServingConfig
from train.data.readers.ov_mini import boxed_samples
from train.data.sampler import BatchConfig
from train.experiment import Experiment, Stream, Volume, epoch_steps
from train.loop.optim import OptimConfig
from train.loop.run import LoopConfig
from train.nano.streams import (
    SMALL_THINGS,
    Canvas,
    captions,
    detection,
    grounding,
    pairs,
    pseudo_boxed,
    tags,
)

_WIDE = PRESETS["nano"]
_BRANCHES = replace(_WIDE, backbone="tf_efficientnet_lite0", width=96)
NARROW = replace(_BRANCHES, quality=False)
"""EfficientNet-Lite0 and a neck and head of 96 channels."""
_SHORTCUT = NanoConfig(shortcut=True)

_CROWDED = Canvas((320, 448, 576), 0.4, 640, (0.5, 1.5))
_LARGE = Canvas((320, 448), 0.4, 512, (0.5, 1.5))


def boxes(smoke: bool = False) -> Experiment:
    """Stage 1: boxes and boxed phrases; the backbone stays as ImageNet left it.

    A frozen backbone takes half the time, and its ImageNet classifier keeps its meaning.
    """
    everything = replace(
        detection(), name="boxes", data=boxed_samples, cache_gib=4.0, volume=Volume(9663)
    )
    return _stage(
        [everything], 4800, _optim(1e-3, backbone=1.0, warmup=300), eval_minutes=20, smoke=smoke
    )


def joint(smoke: bool = False) -> Experiment:
    """All three data types in turn for 3.5 epochs: no stage, but what ablations change."""
    return of_epochs([detection(), grounding(), pairs()], smoke)


def of_epochs(streams: Sequence[Stream], smoke: bool = False) -> Experiment:
    """`joint` with these streams."""
    return _stage(
        streams,
        round(3.5 * epoch_steps(streams)),
        _optim(1e-3, backbone=1.0, warmup=300),
        eval_minutes=20,
        smoke=smoke,
    )


def with_pairs(smoke: bool = False) -> Experiment:
    """Stage 2: captions and class names as well, and the backbone's stages after C4 learn."""
    return _stage(
        [detection(), grounding(), captions(0.1), tags(0.6)],
        4000,
        _optim(8e-4, backbone=0.2, warmup=200),
        freeze=5,
        eval_minutes=20,
        smoke=smoke,
    )


def finish(smoke: bool = False) -> Experiment:
    """Stages 3 and 4: the backbone learns but for its stem and C2, from more phrases.

    Before them the network had learned too little, not too much: phrases it was trained on it found
    hardly more often than others (62.6 % against 58.6 %). Mosaics shrink what phrases name;
    towards the end the network sees photos as people show them.
    """
    return _stage(
        [
            detection(),
            grounding(replace(SMALL_THINGS, mosaic=0.3), weight=1.3),
            captions(0.05),
            tags(0.4),
        ],
        3500,
        _optim(8e-4, warmup=200),
        freeze=2,
        eval_minutes=20,
        smoke=smoke,
    )


def polish(smoke: bool = False) -> Experiment:
    """Stage 5: FPN and head, photos as large as in the app.

    Crops and several scales make things look smaller in training than they are later ("FixRes",
    Touvron et al. 2019).
    """
    return _stage(
        [
            detection(Canvas((320, 448), 0.6, 416, (0.6, 1.4))),
            grounding(Canvas((416, 448), 0.0, 416, (0.7, 1.3)), weight=1.3),
            captions(0.05),
            tags(0.4),
        ],
        360,
        _optim(4e-4, warmup=30, ema=0.99),
        smoke=smoke,
    )


def large(smoke: bool = False) -> Experiment:
    """Stage 6: FPN and head on canvases up to 640 px, with the foreground and IoU branches.

    COCO's photos show many small things: at 640 px an anchor fits what is too small for all of them
    at 448, and a mosaic of that size is as crowded. The new branches rank boxes, in the manner of
    OLN.
    """
    return _stage(
        _streams(_CROWDED), 900, _optim(5e-4, warmup=50, ema=0.995), _BRANCHES, smoke=smoke
    )


def shortcut(smoke: bool = False) -> Experiment:
    """Stages 7 and 8: a shortcut from C4 and C5 to the region embeddings.

    A linear map of C4 and C5, fitted to the boxes of the training data, named 22 % of COCO's boxes
    right together with the head (mean over 80 classes) where the head alone named 19 %.
    """
    return _stage(
        _streams(_LARGE),
        1500,
        _optim(8e-4, warmup=50, ema=0.995),
        _BRANCHES,
        nano=_SHORTCUT,
        smoke=smoke,
    )


def wide(smoke: bool = False) -> Experiment:
    """Stages 9 and 10: on EfficientNet-Lite2 with a wider neck and head.

    `init` names what train.nano.swap_backbone made of the stage before. The backbone stays as
    ImageNet left it, so its classifier fits and needs no stages of its own.
    """
    return _stage(
        _streams(_LARGE),
        3800,
        _optim(8e-4, warmup=50, ema=0.998),
        _WIDE,
        nano=_SHORTCUT,
        smoke=smoke,
    )


def ranked(smoke: bool = False) -> Experiment:
    """Stages 11 and 12: with a loss for the rank of what a phrase names (train.nano.rank_loss).

    With twice the weight and half the steps phrases were found as often, but boxes fitted less
    well.
    """
    return _stage(
        _streams(_LARGE, rank=(0.25, 0.5)),
        1800,
        _optim(5e-4, warmup=50, ema=0.998),
        _WIDE,
        nano=_SHORTCUT,
        smoke=smoke,
    )


def pseudo_boxes(smoke: bool = False) -> Experiment:
    """Stage 13: photos of class names as if they were boxed.

    train.nano.pseudo_boxes finds the boxes, at 448 px. One photo a class of ImageNet is what most
    things of COCO are known from: the pairs' loss shows it at 160 px, these as large as boxed ones.
    """
    return _stage(
        [*_streams(_LARGE), pseudo_boxed(_LARGE)],
        1700,
        _optim(6e-4, warmup=50, ema=0.998),
        _WIDE,
        nano=_SHORTCUT,
        smoke=smoke,
    )


def second_tower(smoke: bool = False) -> Experiment:
    """Stage 14: `ranked` on EfficientNet-Lite0, for the ensemble's second tower.

    `init` names the last mean before train.nano.swap_backbone. What this leaves is averaged with
    it.
    """
    return _stage(
        _streams(_LARGE, rank=(0.25, 0.5)),
        1500,
        _optim(5e-4, warmup=50, ema=0.998),
        _BRANCHES,
        nano=_SHORTCUT,
        smoke=smoke,
    )


def _streams(canvas: Canvas, rank: tuple[float, float] = (0.0, 0.0)) -> list[Stream]:
    """What all stages from the sixth on learn from; the ranking loss of boxes and of phrases."""
    return [
        detection(canvas, rank[0], quality=1.0),
        grounding(canvas, 1.3, rank[1], quality=1.0),
        captions(0.05),
        tags(0.4),
    ]


def _optim(lr: float, warmup: int, backbone: float = 0.3, ema: float = 0.999) -> OptimConfig:
    # The text tower is frozen; its projection learns like the rest of the head.
    return OptimConfig(
        lr=lr, backbone=backbone, text=0.3, warmup=warmup, floor=0.02, clip=5.0, ema=ema
    )


def _stage(
    streams: Sequence[Stream],
    steps: int,
    optim: OptimConfig,
    model: ModelConfig = NARROW,
    nano: NanoConfig | None = None,
    freeze: int = 7,
    eval_minutes: float = 0.0,
    smoke: bool = False,
) -> Experiment:
    if smoke:
        streams = [replace(s, batches=_tiny(s.batches)) for s in streams]
        # The first layer's own weights: 14,000 names are encoded in seconds.
        model = replace(model, text=replace(model.text, layers=1))
    return Experiment(
        model=model,
        nano=nano,
        serving=ServingConfig(size=128 if smoke else 320),
        streams=tuple(streams),
        loop=LoopConfig(
            steps=4 if smoke else steps,
            save_minutes=4.0,
            eval_minutes=0.0 if smoke else eval_minutes,
        ),
        optim=optim,
        backbone_weights="package",
        freeze=freeze,
        threads=2,
    )


def _tiny(batches: BatchConfig) -> BatchConfig:
    return replace(batches, batch=4, sizes=(96,), mosaic_size=96)
