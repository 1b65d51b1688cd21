"""A run whose processes are killed goes on as if they had not been."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from detclipv2.checkpoint import load_checkpoint
from detclipv2.fingerprint import fingerprint
from tests.processes import finish, start, two
from tests.train.loop.drawn import drawn_experiment, losses, pretrain_drawn
from train.loop.run_log import LOG
from train.loop.run_state import STATE
from train.pretrain import pretrain


def _until(ready: Callable[[], bool], process: BaseProcess) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline and process.is_alive(), "the run never got going"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_with_the_same_losses(
    drawn_set: Path, tmp_path: Path, number: signal.Signals
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(drawn_experiment(drawn_set, whole))
    process = start(pretrain_drawn, drawn_set, killed, log=tmp_path / "said")
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(60)
    reached = torch.load(killed / STATE)["step"]
    assert 1 <= reached < 8, "the signal came too late to test anything"
    pretrain(drawn_experiment(drawn_set, killed))
    assert losses(killed) == losses(whole)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_when_one_of_two_processes_is_killed_the_run_restarts_and_ends_as_if_it_had_not(
    drawn_set: Path, tmp_path: Path, parallel: str
) -> None:
    whole, killed, said = tmp_path / "whole", tmp_path / "killed", tmp_path / "said"
    finish(start(two, pretrain_drawn, drawn_set, whole, parallel, 60.0, log=said), said)
    again = partial(two, restarts=1)
    broken = start(again, pretrain_drawn, drawn_set, killed, parallel, log=said)
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, broken)
    workers = Path(f"/proc/{broken.pid}/task/{broken.pid}/children").read_text().split()
    assert len(workers) == 2
    before = len(losses(killed))
    os.kill(int(workers[1]), signal.SIGKILL)
    finish(broken, said)
    assert before < 8, "the signal came too late to test anything"
    assert losses(killed) == losses(whole)
    one, other = (load_checkpoint(out / "checkpoint") for out in (killed, whole))
    assert fingerprint(one) == fingerprint(other)
