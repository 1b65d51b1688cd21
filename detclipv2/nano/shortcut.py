"""A way from C4 and C5 to the region embeddings, past the pyramid's narrow maps.

Not in the paper, whose pyramid is as wide as its embeddings: a switch (`NanoConfig.shortcut`) for
narrow detectors. The pyramid of nano has 96 channels for place and meaning together, C4 and C5 have
432; with a linear map of these, regions are named better than by the head alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shortcut(nn.Module):
    """Linear maps of C4 and C5, resized to every level of the pyramid; zero at first.

    Args:
        channels: of C4 and C5.
        embed_dim: D.
    """

    def __init__(self, channels: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(c, embed_dim, 1, bias=False) for c in channels)
        for conv in self.maps:
            nn.init.zeros_(conv.weight)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """What to add to the region embeddings.

        Args:
            features: C4 and C5, (B, C_l, H_l, W_l).
            sizes: height and width of every level of the pyramid, finest first.

        Returns:
            (B, A, D).
        """
        # Resizing is linear: to map first means to resize D channels, not C_l.
        mapped = [conv(feature) for conv, feature in zip(self.maps, features, strict=True)]
        levels = [
            sum((_resize(part, size) for part in mapped[1:]), _resize(mapped[0], size))
            for size in sizes
        ]
        return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def _resize(part: Tensor, size: tuple[int, int]) -> Tensor:
    own = (part.shape[-2], part.shape[-1])
    if own == size:
        return part
    if size > own:
        return F.interpolate(part, size, mode="bilinear")
    return F.adaptive_avg_pool2d(part, size)
