"""Non-maximum suppression, by torchvision's kernel, and its softer form."""

from __future__ import annotations

import torch
from torch import Tensor

from detclipv2.geometry.boxes import iou_matrix


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Indices of the kept boxes by falling score, regardless of class.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou: a box overlapping a better one by more than this goes.
    """
    from torchvision.ops import nms as kernel

    return kernel(boxes.float(), scores.float(), iou)


def batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou: float) -> Tensor:
    """`nms` within each class: boxes of different classes never suppress one another.

    Classes are moved apart by more than the picture is wide, so one call of the kernel serves all;
    torchvision's own batched form falls into a loop over classes above 1,000 boxes on CPU.
    """
    if boxes.numel() == 0:
        return torch.zeros(0, dtype=torch.long, device=boxes.device)
    # In double precision a shift of thousands of classes still leaves the overlaps exact.
    corners = boxes.double()
    corners = corners - corners.amin()
    shift = classes.double() * (corners.amax() + 1)
    from torchvision.ops import nms as kernel

    return kernel(corners + shift[:, None], scores.double(), iou)


def soften(boxes: Tensor, scores: Tensor, classes: Tensor, sigma: float) -> Tensor:
    """Scores less what a better box of the class explains: s · exp(−m² / σ).

    m is the largest IoU with a better box of the same class. The Gaussian of Soft-NMS (Bodla et al.
    2017), applied to all boxes at once with the scores they came with, as in Matrix NMS (Wang et
    al. 2020): a box's score depends on better ones only, so thresholds stay filters. Not in the
    paper.

    Args:
        boxes: (N, 4) xyxy by falling score.
        scores: (N,) in 0..1.
        classes: (N,) long.
        sigma: σ; 0 changes nothing.
    """
    if not sigma or len(boxes) < 2:
        return scores
    better = torch.ones(len(boxes), len(boxes), dtype=torch.bool, device=boxes.device).triu(1)
    overlap = iou_matrix(boxes, boxes) * (better & (classes[:, None] == classes))
    # Doubles, as in `postprocess.find_candidates`: the same box must not depend on its place.
    kept = torch.exp(-overlap.amax(dim=0).double().square() / sigma)
    return (scores.double() * kept).to(scores.dtype)
