"""Boxes as (N, 4) tensors, xyxy, in whatever pixels the caller works in."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-7


def area(boxes: Tensor) -> Tensor:
    """(..., 4) → (...), square pixels; an inverted box counts as empty."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(
        min=0
    )


def centers(boxes: Tensor) -> Tensor:
    """(..., 4) → (..., 2), x and y of the middle."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """COCO's left, top, width, height → corners."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Corners → COCO's left, top, width, height."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre, width and height → corners."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), dim=-1)


def clip(boxes: Tensor, width: float, height: float) -> Tensor:
    """Cut (..., 4) boxes at the borders of a picture `width` × `height` pixels."""
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    sides = sides.clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every pair: (N, 4), (M, 4) → (N, M) in [0, 1]."""
    overlap = _intersection(a[:, None], b[None])
    return overlap / (area(a)[:, None] + area(b)[None] - overlap).clamp(min=_EPS)


def coverage_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Which share of the smaller box of every pair the two have in common: (N, M) in [0, 1]."""
    smaller = torch.minimum(area(a)[:, None], area(b)[None])
    return _intersection(a[:, None], b[None]) / smaller.clamp(min=_EPS)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of pairs: (N, 4), (N, 4) → (N,) in [-1, 1] (Rezatofighi et al. 2019)."""
    overlap = _intersection(a, b)
    union = (area(a) + area(b) - overlap).clamp(min=_EPS)
    hull_sides = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    hull = (hull_sides[:, 0] * hull_sides[:, 1]).clamp(min=_EPS)
    return overlap / union - (hull - union) / hull
