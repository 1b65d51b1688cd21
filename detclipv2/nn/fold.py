"""Batch norms folded into the convolutions before them, for inference.

A batch norm in evaluation is one more scale and shift a channel; multiplied into the weights they
cost nothing. A pass over each of some sixty maps is saved, and the result is the same but for
rounding.
"""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from detclipv2.nn.backbone import Backbone


def folded(backbone: Backbone) -> Backbone:
    """A copy of `backbone` without batch norms, on the same device; that of Swin has none anyway.

    Raises:
        ValueError: a batch norm does not stand behind the convolution that it belongs to.
    """
    if backbone.norms is not None:
        return backbone
    copied = copy.deepcopy(backbone).eval().requires_grad_(False)
    _fold(copied.net)
    return copied


def _fold(module: nn.Module) -> None:
    before: nn.Conv2d | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            before = child
        elif isinstance(child, nn.BatchNorm2d):
            if before is None or before.out_channels != child.num_features:
                raise ValueError(f"no convolution for {name!r} of a {type(module).__name__}")
            _multiply_in(before, child)
            # timm's batch norms carry the activation that follows them.
            setattr(module, name, getattr(child, "act", nn.Identity()))
            before = None
        else:
            _fold(child)


def _multiply_in(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight.double(),
        None if conv.bias is None else conv.bias.double(),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        norm.weight.double(),
        norm.bias.double(),
    )
    kind = conv.weight.dtype
    conv.weight = nn.Parameter(weight.to(kind), False)
    conv.bias = nn.Parameter(bias.to(kind), False)
