"""Proposal selection: which regions of a picture its words are compared with (paper §3.2, T2a)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from detclipv2.geometry.nms import nms

Objectness = Literal[
    "foreground", "iou", "centerness", "text_sample", "text_batch", "text_batch_centerness"
]
"""The six scores of Table 2a; "text_batch" is the paper's choice."""

OBJECTNESS: tuple[Objectness, ...] = get_args(Objectness)


def text_objectness(scores: Tensor, own: Tensor | None = None) -> Tensor:
    """The best concept's similarity for each anchor.

    Args:
        scores: (B, A, P) similarities with all concepts of the local batch.
        own: (B, P) bool, the concepts of each picture; given, only these count (sample-wise).

    Returns:
        (B, A); -inf for a picture without concepts.
    """
    if own is not None:
        scores = scores.masked_fill(~own[:, None, :], float("-inf"))
    if not scores.shape[-1]:
        return scores.new_full(scores.shape[:-1], float("-inf"))
    return scores.amax(dim=-1)


def objectness(
    kind: Objectness,
    *,
    centerness: Tensor,
    scores: Tensor,
    own: Tensor,
    foreground: Tensor | None = None,
    iou: Tensor | None = None,
) -> Tensor:
    """One number an anchor to rank it by.

    Args:
        kind: which of the six.
        centerness: (B, A) logits.
        scores: (B, A, P) similarity logits with all concepts of the local batch.
        own: (B, P) bool, the concepts of each picture.
        foreground: (B, A) logits of the head's foreground branch, where it has one.
        iou: (B, A) logits of the head's IoU branch, where it has one.

    Raises:
        ValueError: `kind` is unknown, or needs a branch that the model does not have.
    """
    if kind == "centerness":
        return centerness
    if kind in ("foreground", "iou"):
        branch = foreground if kind == "foreground" else iou
        if branch is None:
            raise ValueError(
                f"objectness {kind!r} needs the head's {kind} branch; "
                "build the model with quality=True"
            )
        return branch
    if kind == "text_sample":
        return text_objectness(scores, own)
    if kind == "text_batch":
        return text_objectness(scores)
    if kind == "text_batch_centerness":
        return text_objectness(scores).sigmoid() * centerness.sigmoid()
    raise ValueError(f"objectness must be one of {', '.join(OBJECTNESS)}, got {kind!r}")


@torch.no_grad()
def select_regions(
    boxes: Tensor, ranking: Tensor, k: int = 100, *, nms_iou: float = 0.6, most: int = 1000
) -> tuple[Tensor, Tensor]:
    """The k best regions of each picture after class-agnostic suppression.

    Args:
        boxes: (B, A, 4) xyxy.
        ranking: (B, A), larger is better.
        k: regions to keep.
        nms_iou: a box overlapping a better one by more than this goes.
        most: boxes that reach the suppression, the best ones.

    Returns:
        (B, k) indices into A, best first, and (B, k) bool, which of them are there: a picture with
        fewer than k distinct boxes is filled up with index 0.
    """
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    chosen = torch.zeros((len(boxes), k), dtype=torch.long, device=boxes.device)
    present = torch.zeros_like(chosen, dtype=torch.bool)
    top = ranking.topk(min(most, ranking.shape[1]), dim=1)
    for index, (candidates, scores) in enumerate(zip(top.indices, top.values, strict=True)):
        kept = candidates[nms(boxes[index, candidates], scores, nms_iou)[:k]]
        chosen[index, : len(kept)] = kept
        present[index, : len(kept)] = True
    return chosen, present


@torch.no_grad()
def largest_region(boxes: Tensor, chosen: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Of the chosen regions only the one with the largest box: Table 2b's baseline (Detic).

    Args:
        boxes: (B, A, 4) xyxy.
        chosen: (B, k), from `select_regions`.
        present: (B, k).

    Returns:
        (B, 1) index into A and (B, 1) presence.
    """
    corners = boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
    area = (corners[..., 2:] - corners[..., :2]).clamp(min=0).prod(dim=-1)
    best = area.masked_fill(~present, -1).argmax(dim=1, keepdim=True)
    return chosen.gather(1, best), present.gather(1, best)
