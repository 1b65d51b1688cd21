"""Feature pyramid: C3–C5 → P3–P7 (Lin et al. 2017, extra levels by strided convolutions)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Lateral 1×1, top-down nearest up-sampling, 3×3 smoothing; P6 and P7 from P5's output."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        self.extra = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps (B, C_l, H_l, W_l) → five maps (B, width, ·, ·)."""
        merged = [lateral(feature) for lateral, feature in zip(self.lateral, maps, strict=True)]
        for level in range(len(merged) - 1, 0, -1):
            size = merged[level - 1].shape[-2:]
            merged[level - 1] = merged[level - 1] + F.interpolate(
                merged[level], size, mode="nearest"
            )
        out = [smooth(feature) for smooth, feature in zip(self.smooth, merged, strict=True)]
        out.append(self.extra[0](out[-1]))
        out.append(self.extra[1](F.relu(out[-1])))
        return out
