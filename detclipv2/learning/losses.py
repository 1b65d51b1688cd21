"""The losses of Eq. 6 for boxed data: alignment (focal), GIoU, centerness; and one for ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detclipv2.geometry.boxes import centers, giou

# Entries at once, with all that is computed of them: what a CPU's cache holds, and what is a small
# part of a GPU's memory.
_CHUNK_CPU, _CHUNK_GPU = 1 << 15, 1 << 24


class _Focal(torch.autograd.Function):
    """Value and gradient in one sweep over the largest tensor of the training step.

    Chunk by chunk, because whole tensors of temporaries cost a CPU three times the time, and a GPU
    six times the memory of what is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, keep: Tensor, alpha: float, gamma: float
    ) -> Tensor:
        exact = torch.promote_types(logits.dtype, torch.float32)
        # float16 could not hold what the scaler has not yet made large.
        kept_as = exact if logits.dtype == torch.float16 else logits.dtype
        slope = torch.empty(logits.shape, dtype=kept_as, device=logits.device)
        value = torch.zeros((), dtype=exact, device=logits.device)
        size = _CHUNK_CPU if logits.device.type == "cpu" else _CHUNK_GPU
        parts = (torch.split(t.reshape(-1), size) for t in (logits, targets, keep, slope))
        for logit, target, kept, out in zip(*parts, strict=True):
            sign = 1 - 2 * target.to(exact)
            miss = logit * sign  # the logit of being wrong
            weight = ((1 - alpha) + (2 * alpha - 1) * target) * kept
            wrong = miss.sigmoid()
            cost = F.softplus(miss)
            weight = wrong.pow(gamma).mul_(weight)
            value += (weight * cost).sum()
            # d/dm [w^γ softplus(m)] with w = sigmoid(m): w^γ (γ (1 - w) softplus(m) + w)
            out.copy_(cost.mul_(1 - wrong).mul_(gamma).add_(wrong).mul_(weight).mul_(sign))
        ctx.save_for_backward(slope)
        ctx.dtype = logits.dtype
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (slope * grads[0]).to(ctx.dtype), None, None, None, None


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    keep: Tensor | None = None,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Sum of the sigmoid focal loss over the kept entries (Lin et al. 2017).

    Half-precision logits may be given as they are: the loss is computed in single precision.

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


def ranking_loss(scores: Tensor, fits: Tensor) -> Tensor:
    """How little of a softmax over a photo's boxes goes to those that fit what a concept names.

    Not in the paper. The focal loss looks at each box by itself; who asks for "a man in a red hat"
    looks at the best one. A soft form of Recall@1.

    Args:
        scores: (A, K), a box's strength for a concept, as a logarithm.
        fits: (A, K) bool, the box is where the concept is.

    Returns:
        Sum over the concepts that any box fits.
    """
    found = fits.any(dim=0)
    scores, fits = scores[:, found], fits[:, found]
    fitting = scores.masked_fill(~fits, -torch.inf)
    return (scores.logsumexp(dim=0) - fitting.logsumexp(dim=0)).sum()
