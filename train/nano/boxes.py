"""nano on the boxes and boxed phrases of OV-mini: the CPU checkpoint's first stage.

Paper row: none (O365 + GoldG in spirit, at a thousandth of the size).
Data: flickr8k phrases, eight small detection sets; 9,600 photos.
Hardware: 2 CPU cores, about 20 photos a second; 5 GB of memory.
Command: python -m train.pretrain nano_boxes root=DATA out=runs/nano_boxes
"""

from __future__ import annotations

from dataclasses import replace

from detclipv2.config import PRESETS
from detclipv2.serving import ServingConfig
from train.data.readers.ov_mini import boxed_samples
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.experiment import Experiment, Stream, Volume
from train.loop.optim import OptimConfig
from train.loop.run import LoopConfig
from train.tasks.boxes import BoxesConfig

NARROW = replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96, quality=False)
"""The first stages' network."""


def experiment(smoke: bool = False) -> Experiment:
    """The run; `smoke` shortens it to a few steps."""
    return Experiment(
        model=NARROW,
        serving=ServingConfig(size=320),
        streams=(
            Stream(
                "boxes",
                boxed_samples,
                BoxesConfig(concepts=12),
                # Many small things: captions box large ones, and people ask for both.
                batches=BatchConfig(batch=16, sizes=(224, 320, 448), mosaic=0.6, mosaic_size=416),
                augmentation=Augmentation(scale=(0.35, 1.6)),
                own_concepts=12,
                cache_gib=4.0,
                volume=Volume(9663),
            ),
        ),
        loop=LoopConfig(
            steps=4 if smoke else 4800, save_minutes=4.0, eval_minutes=0 if smoke else 20
        ),
        # The text tower is frozen; its projection learns like the rest of the head.
        optim=OptimConfig(lr=1e-3, text=0.3, warmup=300, floor=0.02, clip=5.0, ema=0.999),
        backbone_weights="package",
        # All of the backbone: half the time, and its ImageNet classifier keeps its meaning.
        freeze=7,
        threads=2,
    )
