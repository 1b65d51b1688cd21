"""Average the weights of checkpoints that grew from the same one.

    python -m train.nano.average CHECKPOINT CHECKPOINT [CHECKPOINT …] OUT

Runs that began with the same weights mostly end in the same valley, whose middle finds more than
its rims ("model soups", Wortsman et al. 2022). All must have the same backbone, neck and head. What
else the first has (its branches of quality, its ImageNet prior, its way of use) is OUT's; where
others lack the shortcut they count as if it were zero, as it was when it was added. OUT is a
checkpoint folder with the card of the last.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from detclipv2.checkpoint import CheckpointError, inspect, load_checkpoint, save_checkpoint
from detclipv2.command import run_command
from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import SecondTowerConfig
from detclipv2.nano.tower import build, nano_config

_ADDS = "image_tower.shortcut."  # what it gives is added to what a model without it gives


def average(models: Sequence[DetCLIPv2], parts: Sequence[float] | None = None) -> DetCLIPv2:
    """A model with the mean of all weights; the models given stay as they are.

    Args:
        models: the first one gives the configuration.
        parts: how much each counts; by default all the same.

    Raises:
        ValueError: they differ in more than what may be added to a detector, or there are more or
            fewer parts than models.
    """
    first, parts = models[0], parts or [1.0] * len(models)
    if len(parts) != len(models):
        raise ValueError(f"{len(parts)} parts for {len(models)} models; give each its own")
    for model in models[1:]:
        if _trunk(model) != _trunk(first):
            raise ValueError(
                f"{model.config.name!r} is configured otherwise than {first.config.name!r}; "
                "average checkpoints of one configuration"
            )
    states = [model.state_dict() for model in models]
    middle = build(first.config, nano_config(first), first.serving)
    with torch.no_grad():
        for name, tensor in middle.state_dict().items():
            given = [
                (part, state[name])
                for part, state in zip(parts, states, strict=True)
                if name in state
            ]
            values = [value for _, value in given]
            if len(values) == len(models) and all(torch.equal(values[0], v) for v in values[1:]):
                tensor.copy_(values[0])  # above all the frozen text tower, which is large
            elif tensor.is_floating_point():
                whole = sum(parts if name.startswith(_ADDS) else [part for part, _ in given])
                terms = [part / whole * value.double() for part, value in given]
                tensor.copy_(torch.stack(terms).sum(dim=0))
            else:
                tensor.copy_(values[-1])
    return middle.eval()


def _trunk(model: DetCLIPv2) -> tuple[ModelConfig, SecondTowerConfig | None]:
    """What must be the same in models to be averaged."""
    nano = nano_config(model)
    return replace(model.config, quality=False), nano.second if nano else None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args(arguments)
    try:
        if len(options.checkpoints) < 2:
            raise ValueError("give at least two checkpoints, and the folder to write")
        middle = average([load_checkpoint(source) for source in options.checkpoints])
    except (CheckpointError, ValueError) as error:
        sys.exit(str(error))
    earlier = inspect(options.checkpoints[-1])["card"]
    told = {key: value for key, value in earlier.items() if "sha" not in key}
    save_checkpoint(middle, options.out, {**told, "average_of": len(options.checkpoints)})


if __name__ == "__main__":
    run_command(main)
