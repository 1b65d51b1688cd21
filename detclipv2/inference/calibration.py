"""Scores that mean the same in every checkpoint: at 0.3, the default, phrases are found best.

A monotone map with two numbers a checkpoint (Platt scaling), fitted by
`train.evaluation.calibrate_scores`. It moves no box past another, and no class's
score depends on the other classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_EDGE = 1e-6  # logits of 0 and 1 are infinite


@dataclass(frozen=True)
class Calibration:
    """score → sigmoid(scale · logit(score) + bias); the default leaves scores as they are.

    Raises:
        ValueError: a scale that is not positive, which would turn the ranking around.
    """

    scale: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.scale > 0 or not math.isfinite(self.scale + self.bias):
            raise ValueError(
                f"a calibration needs scale > 0 and a finite bias, got {self.scale}, {self.bias}"
            )

    @property
    def idle(self) -> bool:
        """Does it leave scores as they are?"""
        return self.scale == 1.0 and self.bias == 0.0

    def apply(self, scores: Tensor) -> Tensor:
        """Raw scores in 0…1 → calibrated ones, elementwise."""
        if self.idle:
            return scores
        logits = scores.double().clamp(_EDGE, 1 - _EDGE).logit()
        return (self.scale * logits + self.bias).sigmoid().to(scores.dtype)

    def inverse(self, thresholds: Tensor) -> Tensor:
        """The raw scores whose calibrated ones are `thresholds`; 0 and 1 stay."""
        if self.idle:
            return thresholds
        logits = (thresholds.double().clamp(_EDGE, 1 - _EDGE).logit() - self.bias) / self.scale
        raw = logits.sigmoid().to(thresholds.dtype)
        return torch.where(thresholds <= 0, 0, torch.where(thresholds >= 1, 1, raw))
