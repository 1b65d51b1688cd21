"""The losses of Eq. 6 for boxed data: alignment (focal), GIoU, centerness."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detclipv2.geometry.boxes import centers, giou


class _Focal(torch.autograd.Function):
    """Value and gradient in one sweep over the largest tensor of the training step."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, keep: Tensor, alpha: float, gamma: float
    ) -> Tensor:
        sign = 1 - 2 * targets.to(logits.dtype)
        miss = logits * sign  # the logit of being wrong
        weight = ((1 - alpha) + (2 * alpha - 1) * targets) * keep
        wrong = miss.sigmoid()
        cost = F.softplus(miss)
        weight.mul_(wrong.pow(gamma))
        value = (weight * cost).sum()
        # d/dm [w^γ softplus(m)] with w = sigmoid(m): w^γ (γ (1 - w) softplus(m) + w)
        slope = cost.mul_(1 - wrong).mul_(gamma).add_(wrong).mul_(weight).mul_(sign)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * grads[0], None, None, None, None


def focal_loss(
    logits: Tensor, targets: Tensor, keep: Tensor | None = None, *, alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:  # fmt: skip
    """Sum of the sigmoid focal loss over the kept entries (Lin et al. 2017).

    Args:
        logits: similarities S, any shape.
        targets: G, bool, of the same shape.
        keep: bool, of the same shape; False leaves an entry out of value and gradient.
        alpha: weight of the positives, 1 - alpha of the negatives.
        gamma: how strongly easy entries are played down.
    """
    kept = torch.ones_like(targets) if keep is None else keep
    value: Tensor = _Focal.apply(logits, targets, kept, alpha, gamma)
    return value


def giou_loss(predicted: Tensor, boxes: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of 1 - GIoU.

    Args:
        predicted: (N, 4) xyxy.
        boxes: (N, 4) xyxy.
        weight: (N,).
    """
    return ((1 - giou(predicted, boxes)) * weight).sum()


def centerness_target(anchors: Tensor, boxes: Tensor) -> Tensor:
    """How central each anchor's middle lies in its box: (N, 4), (N, 4) → (N,) in [0, 1].

    sqrt(min(l, r) / max(l, r) · min(t, b) / max(t, b)) (Tian et al. 2019, Eq. 3).
    """
    middle = centers(anchors)
    near = (middle - boxes[:, :2]).clamp(min=0)
    far = (boxes[:, 2:] - middle).clamp(min=0)
    ratio = torch.minimum(near, far) / torch.maximum(near, far).clamp(min=1e-6)
    return ratio.prod(dim=1).sqrt()


def centerness_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the binary cross-entropy: (N,) logits, (N,) targets in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
