"""A run whose processes are killed goes on as if they had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detclipv2.checkpoint import load_checkpoint
from detclipv2.fingerprint import fingerprint
from tests.places import REPO
from tests.train.loop.drawn import drawn_experiment, losses
from train.loop.run_log import LOG
from train.loop.run_state import STATE
from train.pretrain import pretrain

_PROGRAM = """
import dataclasses, sys
from pathlib import Path
from tests.train.loop.drawn import drawn_experiment
from train.loop.distributed import world
from train.pretrain import pretrain
experiment = drawn_experiment(Path(sys.argv[1]), Path(sys.argv[2]), save_minutes=1e-6)
parallel = (sys.argv + ["ddp"])[3]
# Of a sharded run some weights stay whole: those that do not learn.
frozen = 1 if parallel == "fsdp" else 0
with world(minutes=1) as here:
    pretrain(dataclasses.replace(experiment, parallel=parallel, freeze=frozen), here)
"""


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline and process.poll() is None, "the run never got going"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_with_the_same_losses(
    drawn_set: Path, tmp_path: Path, number: signal.Signals
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(drawn_experiment(drawn_set, whole))
    command = [sys.executable, "-c", _PROGRAM, str(drawn_set), str(killed)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, process)
    process.send_signal(number)
    process.communicate()
    reached = torch.load(killed / STATE)["step"]
    assert 1 <= reached < 8, "the signal came too late to test anything"
    pretrain(drawn_experiment(drawn_set, killed))
    assert losses(killed) == losses(whole)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_when_one_of_two_processes_is_killed_the_run_restarts_and_ends_as_if_it_had_not(
    drawn_set: Path, tmp_path: Path, parallel: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--standalone",
            "--max-restarts",
            "1",
            "--monitor-interval",
            "0.1",
            str(program),
            str(drawn_set),
            str(out),
            parallel,
        ]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    _, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors.decode()[-2000:]
    killed = tmp_path / "killed"
    broken = start(killed)
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, broken)
    children = Path(f"/proc/{broken.pid}/task/{broken.pid}/children").read_text().split()
    workers = [p for p in children if b"program.py" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(workers) == 2
    before = len(losses(killed))
    os.kill(int(workers[1]), signal.SIGKILL)
    _, errors = broken.communicate(timeout=240)
    assert broken.returncode == 0, errors.decode()[-2000:]
    assert before < 8, "the signal came too late to test anything"
    assert losses(killed) == losses(tmp_path / "whole")
    one, other = (load_checkpoint(out / "checkpoint") for out in (killed, tmp_path / "whole"))
    assert fingerprint(one) == fingerprint(other)
