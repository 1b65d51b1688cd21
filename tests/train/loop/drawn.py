"""Runs of seconds on the drawn set, and what their logs say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from detclipv2 import PRESETS
from train.data.readers.coco import read_coco
from train.data.sample import Sample, pair
from train.data.sampler import BatchConfig
from train.experiment import Experiment, Stream
from train.loop.distributed import Parallel, world
from train.loop.optim import OptimConfig
from train.loop.run import LoopConfig
from train.loop.run_log import LOG
from train.pretrain import pretrain
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs_config import PairsConfig


def drawn_experiment(annotations: Path, out: Path, **loop: float) -> Experiment:
    """A run of seconds on the drawn set, with all three data types."""

    def boxes(*_: Path) -> tuple[list[Sample], list[float]]:
        samples = read_coco(annotations, split="train")
        return samples, [1.0] * len(samples)

    def pairs(*_: Path) -> tuple[list[Sample], list[float]]:
        found = [
            pair(
                s.image,
                s.concepts,
                caption=f"a {' and a '.join(s.concepts)}",
                width=s.width,
                height=s.height,
            )
            for s in boxes()[0]
        ]
        return found, [1.0] * len(found)

    batches = BatchConfig(batch=4, sizes=(64,))
    return Experiment(
        model=PRESETS["tiny"],
        streams=(
            Stream(
                "detection",
                boxes,
                BoxesConfig(concepts=6, negatives="data"),
                BatchConfig(batch=4, sizes=(64,), mosaic=0.3, mosaic_size=64),
            ),
            Stream("grounding", boxes, BoxesConfig(concepts=5, localise=False), batches),
            Stream("pairs", pairs, PairsConfig(k=10, micro_batch=2), batches),
        ),
        loop=LoopConfig(**{"steps": 8, "log_every": 1, **loop}),  # type: ignore[arg-type]
        optim=OptimConfig(lr=1e-3, warmup=2),
        out=out,
        workers=0,
        threads=1,
    )


def pretrain_drawn(
    annotations: Path, out: Path, parallel: Parallel = "ddp", save_minutes: float = 1e-6
) -> None:
    """The run in a process of its own; its state is saved at every step, if nothing is said."""
    experiment = drawn_experiment(annotations, out, save_minutes=save_minutes)
    # Of a sharded run some weights stay whole: those that do not learn.
    frozen = 1 if parallel == "fsdp" else 0
    with world(minutes=1) as here:
        pretrain(dataclasses.replace(experiment, parallel=parallel, freeze=frozen), here)


def losses(out: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return {
        line["step"]: {name: v for name, v in line.items() if "/" in name}
        for line in lines
        if line["kind"] == "train"
    }
