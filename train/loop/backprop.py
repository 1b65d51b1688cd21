"""How a task hands its gradient to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Backprop(Protocol):
    """How a task hands its gradient over, so that the loop can scale it."""

    def __call__(self, loss: Tensor) -> None:
        """Go back from a loss."""

    def resume(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Go on from gradients that an earlier call gave."""


class ScaledBackprop:
    """Backward passes of losses that are scaled where half precision would lose their gradient.

    Args:
        scaler: scales nothing where it is not enabled.
    """

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler

    def __call__(self, loss: Tensor) -> None:
        """Accumulate the gradients of a scalar."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def resume(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Go on backwards from `tensors`, whose `gradients` are known."""
        torch.autograd.backward(list(tensors), list(gradients))
