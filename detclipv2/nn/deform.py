"""Modulated deformable 3×3 convolution (DCNv2), stride 1, padding 1.

Offsets follow torchvision's order: for each of the nine taps, row after row, first dy then dx, in
pixels of the map. Three kernels give the same result (tests hold them to it): torchvision's, which
wins on CUDA; `deform_conv_bag`, plain PyTorch, which wins on CPU; and `deform_conv_grid`, of
operators that other engines know, for graphs that are traced for them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TAPS = 9


def _sampling(offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Flat pixel indices and bilinear weights: both (B, H, W, 9, 4), 4 = the corners of a point."""
    batch, _, height, width = offset.shape
    device = offset.device
    # In half precision places beyond 256 would be rounded, and those at a border leave the map.
    offset = offset.to(torch.promote_types(offset.dtype, torch.float32))
    moves = offset.reshape(batch, _TAPS, 2, height, width)
    tap = torch.arange(_TAPS, device=device).reshape(_TAPS, 1, 1)
    y = moves[:, :, 0] + (tap // 3 - 1) + torch.arange(height, device=device).reshape(1, height, 1)
    x = moves[:, :, 1] + (tap % 3 - 1) + torch.arange(width, device=device)
    top, left = y.detach().floor(), x.detach().floor()
    below, right = y - top, x - left
    indices, weights = [], []
    for row, row_weight in ((top, 1 - below), (top + 1, below)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            indices.append(at.long())
            weights.append(row_weight * column_weight * mask * inside)
    first = torch.arange(batch, device=device).reshape(batch, 1, 1, 1, 1) * (height * width)
    index = torch.stack(indices, dim=-1).permute(0, 2, 3, 1, 4) + first
    return index, torch.stack(weights, dim=-1).permute(0, 2, 3, 1, 4)


def deform_conv_bag(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """The convolution in plain PyTorch.

    A bilinear sample is a weighted sum of four rows of the channels-last map: just what
    `embedding_bag` computes. With this the step is bound by memory alone, 2× faster on CPU than
    `grid_sample` and 4× (backward: 15×) than torchvision's kernel.

    Args:
        x: (B, C, H, W) map to sample.
        offset: (B, 18, H, W) dy, dx of each tap in pixels.
        mask: (B, 9, H, W) modulation of each tap.
        weight: (O, C, 3, 3).

    Returns:
        (B, O, H, W); points outside the map count as zero.
    """
    batch, channels, height, width = x.shape
    index, corner_weight = _sampling(offset, mask)
    table = x.permute(0, 2, 3, 1).reshape(-1, channels)
    samples = F.embedding_bag(
        index.reshape(-1, 4),
        table,
        mode="sum",
        per_sample_weights=corner_weight.reshape(-1, 4).to(table.dtype),
    )
    kernel = weight.permute(2, 3, 1, 0).reshape(_TAPS * channels, -1)
    out = samples.reshape(batch * height * width, _TAPS * channels) @ kernel
    return out.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def deform_conv_grid(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """`deform_conv_bag` by `grid_sample`, whose places are shares of the map from -1 to 1."""
    batch, channels, height, width = x.shape
    moves = offset.reshape(batch, _TAPS, 2, height, width)
    tap = torch.arange(_TAPS, device=x.device).reshape(_TAPS, 1, 1)
    y = moves[:, :, 0] + (tap // 3 - 1) + torch.arange(height, device=x.device).reshape(1, -1, 1)
    column = moves[:, :, 1] + (tap % 3 - 1) + torch.arange(width, device=x.device)
    places = torch.stack([(2 * column + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    samples = F.grid_sample(
        x,
        places.reshape(batch, _TAPS * height, width, 2),
        padding_mode="zeros",
        align_corners=False,
    )
    samples = samples.reshape(batch, channels, _TAPS, height, width) * mask[:, None]
    kernel = weight.reshape(-1, channels * _TAPS)
    out = kernel @ samples.reshape(batch, channels * _TAPS, height * width)
    return out.reshape(batch, -1, height, width)


def _is_traced() -> bool:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return tracing or torch.compiler.is_exporting()


def deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """`deform_conv_bag` by whichever kernel is faster on the tensor's device."""
    if _is_traced():
        return deform_conv_grid(x, offset, mask, weight)
    if x.is_cuda:
        from torchvision.ops import deform_conv2d

        return deform_conv2d(x, offset, weight, padding=1, mask=mask)
    return deform_conv_bag(x, offset, mask, weight)


class DeformableEntry(nn.Module):
    """First layer of the classification head, steered by the regression tower (paper §3.3).

    Offsets and modulation are predicted from the regression tower's features, the samples are taken
    from the pyramid's. Image-text pairs train no box; through this layer their gradient still
    reaches the regression tower. Zero initialised, so it starts as a plain convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3))
        nn.init.normal_(self.weight, std=0.01)
        self.steer = nn.Conv2d(width, 3 * _TAPS, 3, padding=1)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)  # type: ignore[arg-type]

    def forward(self, feature: Tensor, regression: Tensor | None) -> Tensor:
        """(B, C, H, W) pyramid features and regression features → (B, C, H, W).

        With `regression` None the points stay on their grid: the same kernel, as a convolution.
        """
        if regression is None:
            return F.conv2d(feature, self.weight, padding=1)
        steer = self.steer(regression)
        offset, modulation = steer[:, : 2 * _TAPS], steer[:, 2 * _TAPS :]
        # Doubled, so that the zero initialisation means a modulation of one.
        return deform_conv(feature, offset, 2 * modulation.sigmoid(), self.weight)
