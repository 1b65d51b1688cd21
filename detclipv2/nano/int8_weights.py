"""Large matrices of a checkpoint in eight bits.

`NanoConfig.int8` saves half of their bytes again: every output channel of a 1×1 convolution is
stored as whole numbers of steps, the 127th part of its largest weight. Only backbones and the
ImageNet prior's classifier are stored so, whose weights are given and mostly stay as they are; what
training shapes keeps its halves, as do small matrices: they stand at the beginning
of a backbone, and what is rounded there is rounded everywhere (from 1,024 numbers on nano's C3 was
off by 3 % and C5 by 7 %, with the limit here C5 is by 3.5 %, C3 and C4 not at all). Packing again
what was unpacked changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SUFFIX = ":step"
_PARTS = ("image_tower.backbone.", "image_tower.second.backbone.", "image_tower.prior.")
_LEAST = 2**17  # numbers in a matrix that is worth it
_STEPS = 127


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` by name, the large matrices of backbones and ImageNet prior as int8 and steps."""
    packed = dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith(_PARTS) and _is_large_matrix(tensor):
            step = step_of(tensor)
            packed[name] = (tensor.float() / step).round().to(torch.int8)
            packed[name + _SUFFIX] = step.flatten()
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `pack`: all in floats again, whether it was packed or not."""
    whole = {}
    for name, tensor in tensors.items():
        if name.endswith(_SUFFIX):
            continue
        step = tensors.get(name + _SUFFIX)
        whole[name] = tensor if step is None else tensor.float() * step[:, None, None, None]
    return whole


def _is_large_matrix(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[2:] == (1, 1) and tensor.numel() >= _LEAST


def step_of(tensor: Tensor) -> Tensor:
    """(O, I, h, w) → (O, 1, 1, 1): what one step of the whole numbers stands for."""
    largest = tensor.float().abs().amax(dim=(1, 2, 3), keepdim=True)
    return (largest / _STEPS).clamp(min=torch.finfo(torch.float32).tiny)
