"""ATSS: which anchors answer for which box (Zhang et al. 2020, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detclipv2.geometry.boxes import centers, iou_matrix

TOP_K = 9
BACKGROUND = -1


@torch.no_grad()
def atss_assign(
    anchors: Tensor, level_counts: Sequence[int], boxes: Tensor, top_k: int = TOP_K
) -> Tensor:
    """Box index of every anchor of one image.

    For each box the `top_k` nearest anchors of each level are candidates; those whose IoU reaches
    the candidates' mean plus standard deviation, and whose middle lies in the box, are positive.
    An anchor that several boxes claim goes to the one it overlaps most, the first of equals.

    Args:
        anchors: (A, 4) xyxy, level after level.
        level_counts: anchors of each level; they sum to A.
        boxes: (N, 4) xyxy, same pixels as the anchors.
        top_k: candidates a level.

    Returns:
        (A,) long: index into `boxes`, or `BACKGROUND`.
    """
    count, device = len(anchors), anchors.device
    if len(boxes) == 0:
        return torch.full((count,), BACKGROUND, dtype=torch.long, device=device)
    overlap = iou_matrix(anchors, boxes)
    middle = centers(anchors)
    distance = torch.cdist(middle, centers(boxes), compute_mode="donot_use_mm_for_euclid_dist")

    nearest, first = [], 0
    for size in level_counts:
        level = distance[first : first + size]
        nearest.append(level.topk(min(top_k, size), dim=0, largest=False).indices + first)
        first += size
    candidates = torch.cat(nearest)
    candidate_overlap = overlap.gather(0, candidates)
    threshold = candidate_overlap.mean(0) + candidate_overlap.std(0)

    x, y = middle[candidates].unbind(-1)
    inside = (x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])
    positive = (candidate_overlap >= threshold) & inside

    claimed = overlap.new_full(overlap.shape, -1.0)
    claimed.scatter_(0, candidates, torch.where(positive, candidate_overlap, -1.0))
    best, box = claimed.max(dim=1)
    return torch.where(best >= 0, box, BACKGROUND)
