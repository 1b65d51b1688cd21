"""Does a larger batch of pairs cost memory?

    python -m train.profiling.pair_memory [--micro-batch N]

Every batch size runs two steps of nano in a process of its own, since a process's peak never falls.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import torch

from detclipv2.command import run_command
from detclipv2.config import PRESETS
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.data.loader import Batch
from train.data.transforms import View
from train.loop.distributed import Replica, World
from train.tasks.pairs import PairsTask
from train.tasks.pairs_config import PairsConfig
from train.tasks.text_encoding import Encode

BATCHES = (64, 256, 1024)
_PHRASES = 3


class _Back:
    def __call__(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def resume(self, tensors: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> None:
        torch.autograd.backward(list(tensors), list(gradients))


def peak(batch: int, micro_batch: int, size: int) -> float:
    """Peak resident MB of this process after two steps on made-up pairs."""
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["nano"]).to(memory_format=torch.channels_last)
    model.text_encoder.load_pretrained()
    names = load_concepts().names
    rng = np.random.default_rng(0)
    none, few = np.zeros((0, 4), np.float32), np.zeros((0, _PHRASES), bool)
    views = tuple(
        View(
            np.zeros((0, 0, 3), np.uint8),
            none,
            tuple(names[i] for i in rng.choice(len(names), _PHRASES, replace=False)),
            few,
            False,
        )
        for _ in range(batch)
    )
    pixels = torch.from_numpy(rng.integers(0, 255, (batch, size, size, 3), dtype=np.uint8))
    config = PairsConfig(micro_batch=micro_batch)
    task = PairsTask(Replica(model, World()), model.config, _pooled(model), config)
    for step in range(2):
        task(Batch(step, pixels, views, tuple(range(batch)), batch), _Back())
        model.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _pooled(model: DetCLIPv2) -> Encode:
    def encode(texts: Sequence[str]) -> torch.Tensor:
        parts = [
            model.text_encoder.pooled(list(texts[i : i + 64])) for i in range(0, len(texts), 64)
        ]
        return torch.cat(parts)

    return encode


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--micro-batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, help="only this one, in this process")
    options = parser.parse_args(arguments)
    if options.batch:
        print(peak(options.batch, options.micro_batch, options.size))
        return
    print("| pairs | peak MB | : smallest |\n|---|---|---|")
    first = 0.0
    for batch in BATCHES:
        words = {"batch": batch, "micro-batch": options.micro_batch, "size": options.size}
        flags = [text for key, value in words.items() for text in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "train.profiling.pair_memory", *flags]
        found = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        first = first or found
        print(f"| {batch} | {found:.0f} | {found / first:.2f} |", flush=True)


if __name__ == "__main__":
    run_command(main)
