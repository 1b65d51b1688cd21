"""Vanilla ATSS head with a region embedding in the classifier's place; shared by all levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detclipv2.nn.deform import DeformableEntry
from detclipv2.nn.norm import GroupNorm

_PRIOR = 0.01  # of an anchor being foreground (Lin et al. 2017)


def _norm(width: int) -> GroupNorm:
    return GroupNorm(min(32, width // 4), width)


def _tower(width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(conv.weight, std=0.01)
        layers += [conv, _norm(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ATSSHead(nn.Module):
    """Per location: a region embedding of width D, four box deltas, one centerness logit.

    With `quality`, two more logits from the regression tower: foreground (any object or none) and
    the IoU that the predicted box will have, for the proposal scores of Table 2a and for ranking
    by localisation in the manner of OLN.

    Args:
        width: channels of the pyramid and of both towers.
        depth: 3×3 convolutions in each tower.
        embed_dim: D.
        embed_kernel: side of the convolution that gives the region embedding.
        levels: pyramid levels; each has its own scale on the deltas.
        deformable: put the deformable entry before the classification tower (paper §3.3).
        deform_min_level: on finer levels the entry's points stay on their grid.
        quality: add the foreground and the IoU branch.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        embed_dim: int,
        *,
        embed_kernel: int = 3,
        levels: int = 5,
        deformable: bool = True,
        deform_min_level: int = 0,
        quality: bool = False,
    ) -> None:
        super().__init__()
        self.deform_min_level = deform_min_level
        self.regression_tower = _tower(width, depth)
        self.entry = DeformableEntry(width) if deformable else None
        self.entry_norm = nn.Sequential(_norm(width), nn.ReLU(inplace=True)) if deformable else None
        self.classification_tower = _tower(width, depth)
        self.embedding = nn.Conv2d(width, embed_dim, embed_kernel, padding=embed_kernel // 2)
        self.box = nn.Conv2d(width, 4, 3, padding=1)
        self.centerness = nn.Conv2d(width, 1, 3, padding=1)
        self.quality = nn.Conv2d(width, 2, 3, padding=1) if quality else None
        self.scales = nn.Parameter(torch.ones(levels))
        for conv in (self.embedding, self.box, self.centerness, self.quality):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        if self.quality is not None:
            # Hardly any anchor is foreground: begun at even odds, their loss would drown all others
            # and spoil the tower of a detector that gets the branches late.
            nn.init.constant_(self.quality.bias[:1], -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[index]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Maps (B, C, H_l, W_l) → embeddings (B, A, D), deltas (B, A, 4), centerness (B, A).

        Fourth, where the head has the branches, the logits of foreground and IoU (B, A, 2).
        """
        embeddings, deltas, centerness, quality = [], [], [], []
        for level, feature in enumerate(maps):
            regression = self.regression_tower(feature)
            deltas.append(_rows(self.box(regression) * self.scales[level]))
            centerness.append(_rows(self.centerness(regression)))
            if self.quality is not None:
                quality.append(_rows(self.quality(regression)))
            if self.entry is not None and self.entry_norm is not None:
                steering = regression if level >= self.deform_min_level else None
                feature = self.entry_norm(self.entry(feature, steering))
            embeddings.append(_rows(self.embedding(self.classification_tower(feature))))
        return (
            torch.cat(embeddings, 1),
            torch.cat(deltas, 1),
            torch.cat(centerness, 1).squeeze(-1),
            torch.cat(quality, 1) if quality else None,
        )


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H·W, C)."""
    return x.flatten(2).transpose(1, 2)
