"""What stops a run before it can spoil its checkpoint: in its arithmetic, and among processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from train.data.loader import Batch
from train.loop.backprop import Backprop
from train.loop.distributed import World
from train.loop.optim import OptimConfig, Plateau
from train.loop.run import LoopConfig, Run
from train.loop.run_state import STATE


def _batches(steps: range) -> Iterator[Batch]:
    for step in steps:
        yield Batch(step, torch.zeros(1, 2, 2, 3, dtype=torch.uint8), (), (0,), 1)


def _falling(layer: nn.Linear) -> object:
    def task(_: Batch, backprop: Backprop) -> dict[str, Tensor]:
        loss = layer.weight.square().sum()
        backprop(loss)
        return {"size": loss.detach()}

    return task


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is(tmp_path: Path) -> None:
    layer = nn.Linear(2, 1)
    run = Run(tmp_path, layer, OptimConfig(), LoopConfig(steps=1))

    def task(_: Batch, backprop: Backprop) -> dict[str, Tensor]:
        loss = (layer.weight.sum() * 0).sqrt()  # 0, with a slope of 0 · ∞
        backprop(loss)
        return {"kink": loss.detach()}

    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        run.train(task, _batches)
    assert not (tmp_path / STATE).exists()
    assert bool(layer.weight.isfinite().all())


def test_processes_that_found_different_checkpoints_do_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "objects", lambda _, own: [own, 7])
    with pytest.raises(ValueError, match=r"steps \[0, 7\] in .*all machines share"):
        Run(tmp_path, nn.Linear(2, 1), OptimConfig(), LoopConfig(steps=1))


def test_all_processes_take_the_first_ones_figure_for_the_plateau(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Linear(2, 1)
    run = Run(tmp_path, layer, OptimConfig(plateau=Plateau()), LoopConfig(steps=2, eval_steps=1))
    figures = iter(np.linspace(0.1, 0.2, 9))
    firsts = iter([0.5, 0.4, 0.4])
    monkeypatch.setattr(World, "objects", lambda _, own: [{"ap": next(firsts)}, own])
    run.train(_falling(layer), _batches, evaluate=lambda: {"ap": float(next(figures))})  # type: ignore[arg-type]
    state = torch.load(tmp_path / STATE)
    assert state["progress"] == {"best": 0.5, "waited": 1, "factor": 1.0}
