"""Make neck and head wider without changing what they say ("Net2Net", Chen et al. 2016).

A wider network that begins where the narrow one ended need not learn everything again: the new
channels read what the old ones read, with random weights, and nothing reads them yet.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import build, nano_config


@torch.no_grad()
def widen(model: DetCLIPv2, width: int, seed: int = 0) -> DetCLIPv2:
    """A copy of `model` with `width` channels in pyramid and towers, and the same output.

    Args:
        model: a trained detector; stays as it is.
        width: at least as wide; its GroupNorm groups must be as large as the model's.
        seed: of the new channels' weights.

    Raises:
        ValueError: `width` is narrower, or would share out the old channels among other groups, or
            `model` has a second tower.
    """
    refuse_second_tower(model)
    old = model.config.width
    if width < old:
        raise ValueError(f"width {width} is narrower than the model's {old}; give at least that")
    wide = build(replace(model.config, width=width), nano_config(model), model.serving)
    if _group(model) != _group(wide):
        raise ValueError(
            f"at width {width} GroupNorm has groups of {_group(wide)} channels, at {old} of "
            f"{_group(model)}, which would change what the old channels give; choose another width"
        )
    generator = torch.Generator().manual_seed(seed)
    known = model.state_dict()
    fresh = wide.state_dict()
    for name, tensor in fresh.items():
        if tensor.shape == known[name].shape:
            fresh[name] = known[name].clone()
        elif tensor.ndim == 1:  # biases and the scales of norms: new ones as they were built
            tensor[: len(known[name])] = known[name]
        else:
            fresh[name] = _grown(known[name], tensor.shape, generator)
    wide.load_state_dict(fresh)
    return wide.train(model.training)


def refuse_second_tower(model: DetCLIPv2) -> None:
    """Raise ValueError if `model` has a second tower, which what grows from it would lose."""
    nano = nano_config(model)
    if nano and nano.second:
        raise ValueError(
            f"{model.config.name!r} has a second tower; give the detector as it was without it"
        )


def _group(model: DetCLIPv2) -> int:
    norm = next(m for m in model.image_tower.head.modules() if isinstance(m, torch.nn.GroupNorm))
    return norm.num_channels // norm.num_groups


def _grown(kernel: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """(O, I, h, w) → `shape`: old rows read no new channel, new rows all, as loudly as old ones."""
    rows, columns = kernel.shape[:2]
    new = torch.randn(shape, generator=generator).to(kernel)
    new *= kernel.std() * (columns / shape[1]) ** 0.5
    new[:rows, columns:] = 0
    new[:rows, :columns] = kernel
    return new
