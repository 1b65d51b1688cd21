"""The contrastive loss over texts and pictures (Eq. 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Side = Literal["text_to_image", "image_to_text", "both"]


def _alone(x: Tensor) -> Tensor:
    return x


def contrastive_loss(
    similarity: Tensor,
    target: Tensor,
    *,
    temperature: float = 0.5,
    smoothing: float = 0.1,
    same: Tensor | None = None,
    weight: Tensor | None = None,
    total: Callable[[Tensor], Tensor] = _alone,
    largest: Callable[[Tensor], Tensor] = _alone,
) -> Tensor:
    """Sum over rows of the cross-entropy of picking the right column.

    With texts as rows and pictures as columns this is L_T→I, the paper's choice: captions name only
    part of what is to be seen, so asking a picture for its text would punish the rest. With the
    transposed matrix it is L_I→T.

    Columns may be spread over processes, each holding its own; only sums over a row travel.

    Args:
        similarity: (T, B) of this process's B columns.
        target: (T,) long, the column that belongs to each row, -1 where another process holds it.
        temperature: τ.
        smoothing: share of the target spread evenly over the columns that take part.
        same: (T, B) bool, columns that are right for the row as well (another photo with the same
            text): they take no part in its softmax.
        weight: (T,) of the rows.
        total: sum of a (T,) tensor over the processes that hold columns, with gradient.
        largest: maximum of a (T,) tensor over them.

    Returns:
        A scalar, the same in all processes; divide it by the number of rows.
    """
    if not len(similarity):
        return similarity.sum()
    logits = similarity / temperature
    here = torch.zeros_like(logits, dtype=torch.bool)
    held = target >= 0
    here[held.nonzero().squeeze(1), target[held]] = True
    kept = torch.ones_like(here) if same is None else ~same | here
    ceiling = largest(logits.detach().masked_fill(~kept, float("-inf")).amax(dim=1))
    share = (logits - ceiling[:, None]).masked_fill(~kept, float("-inf")).exp().sum(dim=1)
    # One message for all four: they are summed over the same processes.
    spread = total(
        torch.stack(
            [
                share,
                logits.masked_fill(~here, 0).sum(dim=1),
                logits.masked_fill(~kept, 0).sum(dim=1),
                kept.sum(dim=1).to(logits.dtype),
            ]
        )
    )
    normaliser = spread[0].log() + ceiling
    rows = normaliser - (1 - smoothing) * spread[1] - smoothing * spread[2] / spread[3]
    return rows.sum() if weight is None else (rows * weight).sum()
