"""The paper's fine-tuning: LVIS (Table 10) and ODinW, one configuration for all sets (Table 11).

Hardware: 16 V100 for LVIS, 8 for ODinW.
Expected: T 50.7 and L 60.1 fixed AP on LVIS minival, mean AP 68.0 and 70.4 on ODinW13 (Table 7).
Command: torchrun --nproc-per-node 8 -m train.finetune lvis CHECKPOINT root=DATA out=runs/lvis
         python -m train.finetune odinw CHECKPOINT DATA/odinw/* out=runs/odinw
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from detclipv2.config import ModelConfig
from train.data.readers.lvis import read_lvis
from train.data.sample import Sample
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.experiment import Experiment, Stream, Volume
from train.loop.optim import OptimConfig, Plateau
from train.loop.run import LoopConfig
from train.tasks.boxes import BoxesConfig

_LVIS = 100_170
# 1333×800 with short sides from 480 on, as MMDetection's multi-scale training has them.
_MULTI_SCALE = BatchConfig(sizes=tuple(range(480, 801, 32)), limit=1344)
_SMOKE = BatchConfig(sizes=(320,))


def lvis(model: ModelConfig, smoke: bool = False) -> Experiment:
    """24 epochs on LVIS v1 train, boxes only; `root` has lvis_v1_train.json and images/."""

    def data(root: Path, _: Path) -> tuple[Sequence[Sample], Sequence[float]]:
        samples = read_lvis(root / "lvis_v1_train.json", root / "images")
        return samples, [1.0] * len(samples)

    batch = 4 if smoke else 64
    stream = Stream(
        "detection",
        data,
        BoxesConfig(concepts=150, negatives="data", enrich=True),
        replace(_SMOKE if smoke else _MULTI_SCALE, batch=batch),
        Augmentation(scale=(1.0, 1.0), light=0.0),
        cache_gib=0.0,
        volume=Volume(_LVIS, 1203),
    )
    return Experiment(
        model=model,
        streams=(stream,),
        loop=LoopConfig(
            steps=4 if smoke else 24 * -(-_LVIS // batch),
            save_minutes=20.0,
            precision="fp32" if smoke else "fp16",
        ),
        optim=OptimConfig(lr=4e-5, text=0.1, weight_decay=0.05, warmup=1000),
        checkpointing=not smoke,
        workers=1 if smoke else 4,
    )


def odinw(
    model: ModelConfig,
    data: Callable[[Path, Path], tuple[Sequence[Sample], Sequence[float]]],
    photos: int,
    smoke: bool = False,
) -> Experiment:
    """At most 250 epochs of one set, the rate cut when its validation figure stops rising.

    Args:
        model: the checkpoint's.
        data: reads the set's training photos.
        photos: how many there are.
        smoke: two short epochs.
    """
    batch = min(4 if smoke else 32, max(1, photos))
    epoch = -(-photos // batch)
    stream = Stream(
        "detection",
        data,
        BoxesConfig(concepts=150, negatives="data", enrich=model.text.definitions),
        replace(_SMOKE if smoke else _MULTI_SCALE, batch=batch),
        Augmentation(scale=(1.0, 1.0), light=0.0),
    )
    return Experiment(
        model=model,
        streams=(stream,),
        loop=LoopConfig(
            steps=(2 if smoke else 250) * epoch,
            eval_steps=epoch,
            save_minutes=10.0,
            log_every=max(1, epoch),
        ),
        optim=OptimConfig(
            lr=4e-5, text=0.01, weight_decay=0.05, warmup=500, ema=0.0, plateau=Plateau()
        ),
    )
