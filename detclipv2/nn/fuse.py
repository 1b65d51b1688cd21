"""Batch norms with frozen statistics folded into their convolutions: same numbers, fewer passes."""

from __future__ import annotations

import copy

from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fused_copy(module: nn.Module) -> nn.Module:
    """A copy of `module`, in evaluation and without gradient, its batch norms folded away.

    A batch norm is folded where it directly follows a convolution among the same parent's children,
    the order in which timm's EfficientNet blocks run them; its activation stays.
    """
    fused = copy.deepcopy(module).eval().requires_grad_(False)
    for parent in list(fused.modules()):
        previous: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNormAct2d) and isinstance(previous, nn.Conv2d):
                _fold(previous, child)
                setattr(parent, name, child.act)
                child = child.act
            if not isinstance(child, nn.Identity):
                previous = child
    return fused


def _fold(conv: nn.Conv2d, norm: BatchNormAct2d) -> None:
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
