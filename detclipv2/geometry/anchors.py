"""One square anchor a location, and the offsets that turn anchors into boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from detclipv2.geometry.boxes import centers

_DELTA_STD = (0.1, 0.1, 0.2, 0.2)
# A side is at most this many times its anchor's: exp() of an untrained output must not overflow.
_MAX_LOG_RATIO = math.log(1000 / 16)


def grid_anchors(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], scale: float, device: torch.device
) -> Tensor:
    """All anchors of a pyramid, level after level, row after row.

    Args:
        sizes: (height, width) of each level's map.
        strides: pixels between neighbouring locations of each level.
        scale: side of an anchor in strides (8 in ATSS).
        device: where the tensor is made.

    Returns:
        (A, 4) xyxy in pixels of the network's input; location (0, 0) has its middle at stride / 2.
    """
    levels = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y = (torch.arange(height, device=device) + 0.5) * stride
        x = (torch.arange(width, device=device) + 0.5) * stride
        middle = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
        half = scale * stride / 2
        levels.append(torch.cat((middle - half, middle + half), dim=1))
    return torch.cat(levels)


def decode(anchors: Tensor, deltas: Tensor) -> Tensor:
    """Boxes from (..., A, 4) deltas (dx, dy, dw, dh in units of the usual standard deviations)."""
    std = deltas.new_tensor(_DELTA_STD)
    side = anchors[..., 2:] - anchors[..., :2]
    scaled = deltas * std
    middle = centers(anchors) + scaled[..., :2] * side
    half = side * scaled[..., 2:].clamp(max=_MAX_LOG_RATIO).exp() / 2
    return torch.cat((middle - half, middle + half), dim=-1)


def encode(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Inverse of `decode` for boxes with positive sides."""
    std = boxes.new_tensor(_DELTA_STD)
    side = anchors[..., 2:] - anchors[..., :2]
    shift = (centers(boxes) - centers(anchors)) / side
    stretch = ((boxes[..., 2:] - boxes[..., :2]) / side).log()
    return torch.cat((shift, stretch), dim=-1) / std
