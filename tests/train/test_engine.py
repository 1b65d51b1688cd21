from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from train.data.coco import read_coco
from train.data.sampler import BatchConfig
from train.engine import LOG, STATE, LoopConfig
from train.experiment import Experiment, describe, override
from train.optim import MovingAverage, OptimConfig, parameter_groups, schedule
from train.pretrain import pretrain

ROOT = Path(__file__).parent.parent.parent


def drawn_experiment(annotations: Path, out: Path, **loop: float) -> Experiment:
    """A run of seconds on the drawn set."""

    def data(_: Path) -> tuple[list, list[float]]:  # type: ignore[type-arg]
        samples = read_coco(annotations, split="train")
        return samples, [1.0] * len(samples)

    return Experiment(
        model=PRESETS["tiny"], data=data, loop=LoopConfig(**{"steps": 8, "log_every": 1, **loop}),  # type: ignore[arg-type]
        batches=BatchConfig(batch=4, sizes=(64,), mosaic=0.3, mosaic_size=64),
        optim=OptimConfig(lr=1e-3, warmup=2), out=out, workers=0, threads=1,
    )  # fmt: skip


def losses(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


# The text dictionary is encoded at each start where the tower is frozen; tiny's is not.
def test_a_run_writes_its_log_checkpoint_and_model(drawn_set: Path, tmp_path: Path) -> None:
    run = pretrain(drawn_experiment(drawn_set, tmp_path / "run"))
    assert run.step == 8
    assert list(losses(tmp_path / "run")) == list(range(1, 9))
    assert json.loads((tmp_path / "run" / "experiment.json").read_text())["loop"]["steps"] == 8
    model = DetCLIPv2.from_pretrained(tmp_path / "run" / "checkpoint")
    assert model.config == PRESETS["tiny"]
    last = json.loads((tmp_path / "run" / LOG).read_text().splitlines()[-1])
    assert {"align", "giou", "centerness", "lr", "images_per_second"} <= last.keys()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


_PROGRAM = """
import sys
from pathlib import Path
from tests.train.test_engine import drawn_experiment
from train.pretrain import pretrain
pretrain(drawn_experiment(Path(sys.argv[1]), Path(sys.argv[2]), save_minutes=1e-6))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_with_the_same_losses(
    drawn_set: Path, tmp_path: Path, number: signal.Signals
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(drawn_experiment(drawn_set, whole))
    command = [sys.executable, "-c", _PROGRAM, str(drawn_set), str(killed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not ((killed / LOG).is_file() and len(losses(killed)) >= 3):
        assert time.monotonic() < deadline and process.poll() is None, "the run never got going"
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate()
    reached = torch.load(killed / STATE)["step"]
    assert 1 <= reached < 8, "the signal came too late to test anything"
    pretrain(drawn_experiment(drawn_set, killed))
    assert losses(killed) == losses(whole)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    drawn_set: Path, tmp_path: Path
) -> None:
    experiment = drawn_experiment(drawn_set, tmp_path / "run")
    wild = dataclasses.replace(
        experiment, losses=dataclasses.replace(experiment.losses, giou=float("inf"))
    )
    with pytest.raises(FloatingPointError, match="step 0"):
        pretrain(wild)
    assert not (tmp_path / "run" / STATE).exists()


def test_schedule_warms_up_then_falls_to_the_floor() -> None:
    config = OptimConfig(warmup=10, floor=0.1)
    values = [schedule(step, 110, config) for step in range(110)]
    assert values[0] == pytest.approx(0.1) and values[9] == pytest.approx(1)
    assert values[60] == pytest.approx(0.55) and values[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in pairwise(values[10:]))


def test_groups_give_backbone_and_text_their_rate_and_spare_norms_the_decay() -> None:
    model = DetCLIPv2(PRESETS["tiny"])
    groups = parameter_groups(model, OptimConfig(lr=1.0, backbone=0.5, text=0.1))
    where = {id(p): g for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    rates = {
        model.head.box.weight: (1.0, 0.05), model.head.box.bias: (1.0, 0.0),
        model.backbone.net.conv_stem.weight: (0.5, 0.05), model.text.projection.weight: (0.1, 0.05),
        model.log_scale: (1.0, 0.0),
    }  # fmt: skip
    for parameter, (rate, decay) in rates.items():
        group = where[id(parameter)]
        assert (group["lr"], group["weight_decay"]) == (rate, decay)
    assert len(where) == len(list(model.parameters()))


def test_the_moving_average_is_the_recursion_and_swap_is_its_own_inverse() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    average = MovingAverage(layer, 0.5)
    expected = 0.0
    for step in range(1, 6):
        torch.nn.init.constant_(layer.weight, float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.shadow["weight"].item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == 5.0


def test_overrides_reach_nested_keys_and_refuse_unknown_ones(tmp_path: Path) -> None:
    experiment = drawn_experiment(tmp_path / "x.json", tmp_path)
    changed = override(experiment, ["optim.lr=1", "batches.sizes=(96, 128)", "out=a b", "seed=4"])
    assert changed.optim.lr == 1.0 and changed.batches.sizes == (96, 128)
    assert changed.out == Path("a b") and changed.seed == 4
    for wrong, message in [
        ("optim.speed=3", "unknown key 'optim.speed'"), ("seed", "key=value"),
        ("seed=fast", "expected int"), ("batches.batch=0", "batch must be positive"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            override(experiment, [wrong])
    assert json.dumps(describe(changed))
