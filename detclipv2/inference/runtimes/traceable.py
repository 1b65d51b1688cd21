"""The image tower with tensors in and tensors out, which is all that tracers understand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from detclipv2.regions import PER_PICTURE, Regions, rank

if TYPE_CHECKING:
    from detclipv2.model import DetCLIPv2

Encoder = Callable[[Tensor], Regions]
"""(B, 3, H, W) normalised pixels, H and W multiples of 32 → regions, ranked as the checkpoint
says."""


def encoder_of(model: DetCLIPv2) -> Encoder:
    """`model.encode_image`, ranked by `ServingConfig.ranking`."""
    return lambda pixels: rank(model.encode_image(pixels), model.serving.ranking)


class TraceableTower(nn.Module):
    """`encoder_of` a model in evaluation, as a tuple of those of `PER_PICTURE` that it has."""

    def __init__(self, model: DetCLIPv2) -> None:
        super().__init__()
        # Tracing asks for every attribute of every part, and the text tower would open its files.
        self.model = copy.copy(model)
        parts = {k: v for k, v in model._modules.items() if k != "text_encoder"}
        self.model._modules = parts
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels → tensors that begin with B."""
        regions = encoder_of(self.model)(pixels)
        tensors = (getattr(regions, name) for name in PER_PICTURE)
        return tuple(tensor for tensor in tensors if tensor is not None)
