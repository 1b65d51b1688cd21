"""nano on the boxes and boxed phrases of OV-mini: the CPU checkpoint's first stage.

Paper row: none (O365 + GoldG in spirit, at a thousandth of the size).
Data: flickr8k phrases, eight small detection sets; 9,600 photos.
Hardware: 2 CPU cores, about 20 photos a second; 5 GB of memory.
Command: python -m train.pretrain nano_boxes root=DATA out=runs/nano_boxes
"""

from __future__ import annotations

from detclipv2.config import PRESETS
from train.data.ov_mini import boxed_samples
from train.data.sampler import BatchConfig
from train.engine import LoopConfig
from train.experiment import Experiment
from train.optim import OptimConfig


def experiment(smoke: bool = False) -> Experiment:
    """The run; `smoke` shortens it to a few steps."""
    return Experiment(
        model=PRESETS["nano"],
        data=boxed_samples,
        loop=LoopConfig(
            steps=4 if smoke else 5000, save_minutes=4.0, eval_minutes=0 if smoke else 20
        ),
        batches=BatchConfig(batch=16, sizes=(224, 288, 384), mosaic=0.35, mosaic_size=352),
        # The text tower is frozen; its projection learns like the rest of the head.
        optim=OptimConfig(
            lr=1e-3, backbone=0.2, text=0.3, warmup=300, floor=0.02, clip=5.0, ema=0.999
        ),
        backbone_weights="package",
        # All of the backbone: a third faster, and its ImageNet classifier keeps its meaning.
        freeze=7,
        threads=2,
    )
