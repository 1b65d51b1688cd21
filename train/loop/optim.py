"""Parameter groups, the learning-rate schedule, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Plateau:
    """Lower the rate when figures no longer rise, and end when even that does not help.

    The paper's ODinW fine-tuning (Table 11): an evaluation an epoch.

    Attributes:
        patience: evaluations without gain before the rate is cut, and again before the next cut.
        factor: of a cut.
        give_up: evaluations without gain before the end,
        floor: which only comes once the peak rate has been cut to this or less.
    """

    patience: int = 5
    factor: float = 0.1
    give_up: int = 8
    floor: float = 1e-8

    def __post_init__(self) -> None:
        if self.patience < 1 or self.give_up < 1 or not 0 < self.factor < 1:
            raise ValueError(f"patience and give_up are positive, factor in (0, 1), got {self}")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW as in Table 9; rates of backbone and text are given relative to the rest.

    Attributes:
        lr: peak rate of neck and head.
        backbone: factor on `lr` for the image backbone.
        text: factor on `lr` for the text tower and its projection.
        weight_decay: on matrices and kernels; never on norms, biases, scales.
        warmup: steps of linear warm-up; then a cosine down to `floor` times the peak.
        floor: share of the peak at the end.
        clip: largest norm of the gradient.
        ema: decay of the moving average, reached from below while steps are few.
        plateau: instead of the cosine, the rate stays at its peak until figures stop rising.
    """

    lr: float = 2.8e-4
    backbone: float = 1.0
    text: float = 0.1
    weight_decay: float = 0.05
    warmup: int = 1000
    floor: float = 0.0
    clip: float = 1.0
    ema: float = 0.9998
    plateau: Plateau | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.clip <= 0:
            raise ValueError(f"lr and clip must be positive, got {self.lr} and {self.clip}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must lie in [0, 1), got {self.ema}")


# Swin's positions, which its own training does not pull to zero, either.
_UNDECAYED = "relative_position_bias_table"


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, object]]:
    """Trainable parameters by rate and decay, for AdamW."""
    rates = {"backbone": config.backbone, "text_encoder": config.text}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = config.lr
            for part in set(name.split(".")) & rates.keys():
                rate *= rates[part]
            whole = parameter.ndim >= 2 and not name.endswith(_UNDECAYED)
            decay = config.weight_decay if whole else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]


def schedule(step: int, steps: int, config: OptimConfig) -> float:
    """Factor on the peak rate at `step` of `steps`: linear warm-up, then cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.plateau:
        return 1.0
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    return config.floor + (1 - config.floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


@dataclass(frozen=True)
class Progress:
    """Where a run stands on its plateau; `after` gives the next.

    Attributes:
        best: figure so far.
        waited: evaluations since then.
        factor: on the rate.
    """

    best: float = float("-inf")
    waited: int = 0
    factor: float = 1.0

    def after(self, figure: float, plateau: Plateau) -> Progress:
        """One evaluation later."""
        if figure > self.best:
            return Progress(figure, 0, self.factor)
        waited = self.waited + 1
        cut = plateau.factor if waited % plateau.patience == 0 else 1.0
        return Progress(self.best, waited, self.factor * cut)

    def over(self, plateau: Plateau, peak: float) -> bool:
        """Is there nothing left to hope for at a peak rate of `peak`?"""
        # Ten times a tenth is not quite one.
        return self.waited >= plateau.give_up and peak * self.factor <= 1.001 * plateau.floor


class MovingAverage:
    """Exponential moving average of the trainable parameters.

    Early on the decay is (1 + n) / (10 + n), so that the first, random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._live = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.shadow = {n: p.detach().clone() for n, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the live weights."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        live = [p.detach() for p in self._live.values()]
        torch._foreach_lerp_(list(self.shadow.values()), live, 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """Shadow weights and their count."""
        return {"updates": self._updates, "shadow": self.shadow}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Inverse of `state_dict`."""
        shadow: dict[str, Tensor] = state["shadow"]  # type: ignore[assignment]
        for name, tensor in self.shadow.items():
            tensor.copy_(shadow[name])
        self._updates = int(state["updates"])  # type: ignore[call-overload]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and live weights; twice is as before."""
        for name, parameter in self._live.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.shadow[name])
            self.shadow[name].copy_(kept)
