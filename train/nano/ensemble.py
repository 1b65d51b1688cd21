"""Let two detectors look together, as one.

    python -m train.nano.ensemble CHECKPOINT OTHER OUT [--meaning SHARE] [--place SHARE]

OUT is CHECKPOINT with OTHER's image tower as its partner (`ModelConfig.partner`): at every anchor
the mean of what both say counts, weighted by OTHER's share in the region embedding (`--meaning`)
and in everything that makes and ranks boxes (`--place`). Each was trained to answer its own
projection of the same frozen text tower; OTHER's region embeddings are mapped, by least squares
over names of the concept dictionary, to give with CHECKPOINT's texts what they gave with their own.
The map is linear, as are the layers before it, so it becomes part of their weights. Nothing is
trained. CHECKPOINT keeps its knowledge; OTHER's is left behind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from detclipv2.checkpoint import CheckpointError, inspect
from detclipv2.config import ModelConfig, PartnerConfig
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.nano.prior import encode_names

_EVERY = 4  # name of the dictionary
_RIDGE = 1e-5
_MAY_MISS = 0.1  # share of variance


@torch.no_grad()
def paired(
    model: DetCLIPv2, other: DetCLIPv2, meaning: float = 0.5, place: float = 0.5
) -> DetCLIPv2:
    """A copy of `model` with the image tower of `other` as its partner.

    Args:
        model: a trained detector without partner, with a frozen text tower.
        other: one of the same text tower, branches and embedding width; backbone and width of its
            pyramid may differ.
        meaning: share of `other` in the region embeddings, between 0 and 1.
        place: its share in boxes, centerness, foreground and IoU.

    Raises:
        ValueError: a share is not between 0 and 1, `model` has a partner, the two differ in more,
            or they have learned to understand texts too differently.
    """
    if model.partner is not None:
        raise ValueError(f"{model.config.name!r} has a partner, {model.config.partner}")
    if not model.config.text.frozen or _common(model.config) != _common(other.config):
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
    beside = PartnerConfig(other.config.backbone, other.config.width, meaning, place)
    pair = DetCLIPv2(replace(model.config, partner=beside))
    theirs = {
        f"partner.{name}": tensor
        for name, tensor in other.state_dict().items()
        if name.split(".")[0] in ("backbone", "fpn", "head", "shortcut")
    }
    pair.load_state_dict({**model.state_dict(), **theirs})
    assert pair.partner is not None
    towards = towards * (other.log_scale - model.log_scale).exp()
    for conv in (pair.partner.head.embedding, *getattr(pair.partner.shortcut, "maps", ())):
        _follow(conv, towards)
    pair.bias.copy_((1 - meaning) * model.bias + meaning * other.bias)
    return pair.eval()


def _understood(model: DetCLIPv2, other: DetCLIPv2) -> tuple[Tensor, float]:
    """(D, D) map M, for which `other`'s texts are about M transposed times `model`'s.

    And the share of the variance of `other`'s texts that this does not explain.
    """
    pooled = encode_names(model, load_concepts().names[::_EVERY])
    ours, theirs = model.text.project(pooled), other.text.project(pooled)
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
    """What two detectors must share to look together."""
    return replace(
        config,
        name="",
        backbone="",
        width=8,
        drop_path=0.0,
        prior=0.01,
        initial_scale=1.0,
        knowledge=False,
        localisation="centerness",
        score_scale=1.0,
        score_bias=0.0,
        soft_nms=0.0,
        compact=False,
        partner=None,
        text=replace(config.text, definitions=False),
        image=replace(config.image, size=32, least=0, short=0, half=0.0, second=0),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("other")
    parser.add_argument("out", type=Path)
    parser.add_argument("--meaning", type=float, default=0.5, help="share in region embeddings")
    parser.add_argument("--place", type=float, default=0.5, help="share in boxes and their rank")
    options = parser.parse_args(arguments)
    try:
        model, other = map(DetCLIPv2.from_pretrained, (options.checkpoint, options.other))
        pair = paired(model, other, options.meaning, options.place)
    except (CheckpointError, ValueError) as error:
        sys.exit(str(error))
    cards = [inspect(source)["card"] for source in (options.checkpoint, options.other)]
    told, partner = ({k: v for k, v in card.items() if "sha" not in k} for card in cards)
    pair.save_pretrained(options.out, {**told, "partner": partner})


if __name__ == "__main__":
    main()
