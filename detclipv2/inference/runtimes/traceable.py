"""The image tower with tensors in and tensors out, which is all that tracers understand."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from detclipv2.model import DetCLIPv2

FIELDS = ("boxes", "embeddings", "centerness", "localisation", "foreground", "iou")
"""Of `Regions`, what depends on the picture; the last two where the head has the branches."""


class PlainTower(nn.Module):
    """`DetCLIPv2.encode_image` of a model in evaluation, as a tuple of those of `FIELDS` it has."""

    def __init__(self, model: DetCLIPv2) -> None:
        super().__init__()
        # Tracing asks for every attribute of every part, and the text tower would open its files.
        self.model = copy.copy(model)
        self.model._modules = {k: v for k, v in model._modules.items() if k != "text"}
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels → tensors that begin with B."""
        regions = self.model.encode_image(pixels)
        tensors = (getattr(regions, name) for name in FIELDS)
        return tuple(tensor for tensor in tensors if tensor is not None)
