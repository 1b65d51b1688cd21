"""Make one detector of two: an ensemble of their image towers.

    python -m train.nano.ensemble CHECKPOINT OTHER OUT [--embeddings SHARE] [--boxes SHARE]

OUT is CHECKPOINT with OTHER's image tower as its second one (`NanoConfig.second`): at every anchor
the mean of what both say counts, weighted by OTHER's share in the region embedding (`--embeddings`)
and in everything that makes and ranks boxes (`--boxes`). Each was trained to answer its own
projection of the same frozen text tower; OTHER's region embeddings are mapped, by least squares
over names of the concept dictionary, to give with CHECKPOINT's texts what they gave with their own.
The map is linear, as are the layers before it, so it becomes part of their weights. Nothing is
trained. CHECKPOINT keeps its ImageNet prior; OTHER's is left behind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from detclipv2.checkpoint import CheckpointError, inspect, load_checkpoint, save_checkpoint
from detclipv2.command import run_command
from detclipv2.config import ModelConfig
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig, SecondTowerConfig
from detclipv2.nano.tower import NanoTower, build, nano_config
from train.nano.prior import encode_names

_EVERY = 4  # name of the dictionary
_RIDGE = 1e-5
_MAY_MISS = 0.1  # share of variance


@torch.no_grad()
def ensemble(
    model: DetCLIPv2, other: DetCLIPv2, embeddings: float = 0.5, boxes: float = 0.5
) -> DetCLIPv2:
    """A copy of `model` with the image tower of `other` as its second one.

    Args:
        model: a trained detector with one tower, with a frozen text tower.
        other: one of the same text tower, branches and embedding width; backbone and width of its
            pyramid may differ.
        embeddings: share of `other` in the region embeddings, between 0 and 1.
        boxes: its share in boxes, centerness, foreground and IoU.

    Raises:
        ValueError: a share is not between 0 and 1, `model` has two towers, the two differ in more,
            or they have learned to understand texts too differently.
    """
    nano, theirs = nano_config(model) or NanoConfig(), nano_config(other) or NanoConfig()
    if nano.second is not None:
        raise ValueError(f"{model.config.name!r} has a second tower already, {nano.second}")
    if not model.config.text.frozen or (_common(model.config), nano.shortcut) != (
        _common(other.config),
        theirs.shortcut,
    ):
        raise ValueError(
            f"{model.config.name!r} and {other.config.name!r} differ in more than backbone and "
            "width, or their text towers learn; take detectors of one configuration"
        )
    towards, missed = _understood(model, other)
    if missed > _MAY_MISS:
        raise ValueError(
            f"{missed:.0%} of what {other.config.name!r} makes of texts cannot be told from what "
            f"{model.config.name!r} makes of them; train both from the same checkpoint"
        )
    second = SecondTowerConfig(other.config.backbone, other.config.width, embeddings, boxes)
    pair = build(model.config, replace(nano, second=second), model.serving)
    tower = pair.image_tower
    assert isinstance(tower, NanoTower) and tower.second is not None
    parts = {
        name: tensor
        for name, tensor in other.image_tower.state_dict().items()
        if not name.startswith("prior.")
    }
    tower.second.load_state_dict(parts)
    beside = {f"image_tower.second.{n}": t for n, t in tower.second.state_dict().items()}
    pair.load_state_dict({**model.state_dict(), **beside})
    towards = towards * (other.log_scale - model.log_scale).exp()
    for conv in (tower.second.head.embedding, *getattr(tower.second.shortcut, "maps", ())):
        _follow(conv, towards)
    pair.bias.copy_((1 - embeddings) * model.bias + embeddings * other.bias)
    return pair.eval()


def _understood(model: DetCLIPv2, other: DetCLIPv2) -> tuple[Tensor, float]:
    """(D, D) map M, for which `other`'s texts are about M transposed times `model`'s.

    And the share of the variance of `other`'s texts that this does not explain.
    """
    pooled = encode_names(model, load_concepts().names[::_EVERY])
    ours, theirs = model.text_encoder.project(pooled), other.text_encoder.project(pooled)
    ridge = _RIDGE * len(ours) * torch.eye(ours.shape[1])
    found = torch.linalg.solve(ours.T @ ours + ridge, ours.T @ theirs)
    missed = (ours @ found - theirs).square().sum() / (theirs - theirs.mean(0)).square().sum()
    return found, float(missed)


def _follow(conv: nn.Module, towards: Tensor) -> None:
    """Make `conv` give M times what it gives."""
    assert isinstance(conv, nn.Conv2d)
    conv.weight.copy_(torch.einsum("nd,dchw->nchw", towards, conv.weight))
    if conv.bias is not None:
        conv.bias.copy_(towards @ conv.bias)


def _common(config: ModelConfig) -> ModelConfig:
    """What two detectors must share to form an ensemble."""
    return replace(
        config,
        name="",
        backbone="",
        text=replace(config.text, definitions=False),
        width=8,
        drop_path=0.0,
        prior=0.01,
        initial_scale=1.0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("other")
    parser.add_argument("out", type=Path)
    parser.add_argument("--embeddings", type=float, default=0.5, help="share in region embeddings")
    parser.add_argument("--boxes", type=float, default=0.5, help="share in boxes and their rank")
    options = parser.parse_args(arguments)
    try:
        model, other = map(load_checkpoint, (options.checkpoint, options.other))
        pair = ensemble(model, other, options.embeddings, options.boxes)
    except (CheckpointError, ValueError) as error:
        sys.exit(str(error))
    cards = [inspect(source)["card"] for source in (options.checkpoint, options.other)]
    first, second = ({k: v for k, v in card.items() if "sha" not in k} for card in cards)
    save_checkpoint(pair, options.out, {**first, "second_tower": second})


if __name__ == "__main__":
    run_command(main)
