"""Non-maximum suppression, by torchvision's kernel."""

from __future__ import annotations

import torch
from torch import Tensor


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
