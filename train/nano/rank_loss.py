"""Whether a phrase's best box is the right one: the boxes of a photo against each other.

Not in the paper; `train.pretrain` passes it to `BoxesTask`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from detclipv2.geometry.boxes import iou_matrix
from detclipv2.learning.losses import ranking_loss
from detclipv2.regions import Regions
from train.tasks.box_targets import PhotoTarget, sought

# Softmax over the fourth power of the scores people see, which are square roots: that of a few
# strong boxes, not of thousands of weak ones.
_POWER = 2.0
_FITS = 0.5  # the IoU from which on recall counts a box as found


def rank_loss(regions: Regions, logits: Tensor, targets: Sequence[PhotoTarget]) -> Tensor:
    """Sum of `ranking_loss` over what is asked of B canvases; zero, with a gradient, where nothing.

    Boxes are ranked by similarity, centerness and, where the head has it, IoU, as they are when
    people look for them; only the similarity learns from it.

    Args:
        regions: of B canvases.
        logits: (B, A, K) similarities.
        targets: B of them, on the same device.
    """
    total = 0 * logits.sum()
    place = F.logsigmoid(regions.centerness.detach().float())
    if regions.iou is not None:
        place = place + F.logsigmoid(regions.iou.detach().float())
    for index, target in enumerate(targets):
        columns = sought(target).nonzero().squeeze(1)
        if not len(columns):
            continue
        overlap = iou_matrix(regions.boxes[index].detach().float(), target.boxes)  # (A, N)
        named = target.positive[:, columns].float()  # (N, k)
        fits = (overlap >= _FITS).float() @ named > 0  # (A, k)
        similar = F.logsigmoid(logits[index][:, columns].float())
        total = total + ranking_loss(_POWER * (similar + place[index][:, None]), fits)
    return total
