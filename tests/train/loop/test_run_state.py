"""The state of a run: a damaged one costs the steps since the one before, not the run."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.places import REPO
from train.loop.distributed import World
from train.loop.optim import MovingAverage
from train.loop.run_state import STATE, StateError, load_state, remove_state, save_state


class Small:
    """What a run keeps: a model, its optimizer and its average."""

    def __init__(self) -> None:
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
        self.average = MovingAverage(self.model, 0.9)

    def save(self, folder: Path, step: int) -> None:
        with torch.no_grad():
            self.model.weight.fill_(step)
        state: dict[str, Any] = {
            "step": step,
            "model": dict(self.model.named_parameters()),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
        }
        save_state(folder, state, self.model, self.optimizer, World(), sharded=False)

    def load(self, folder: Path) -> dict[str, Any] | None:
        return load_state(folder, self.model, self.optimizer, self.average, sharded=False)


def test_a_damaged_state_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Small()
    assert run.load(tmp_path) is None
    run.save(tmp_path, 1)
    run.save(tmp_path, 2)
    state = run.load(tmp_path)
    assert state is not None and state["step"] == 2
    whole = (tmp_path / STATE).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\0" * len(whole), b"not a state"):
        (tmp_path / STATE).write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            state = run.load(tmp_path)
        assert state is not None and state["step"] == 1
        assert float(run.model.weight[0, 0]) == 1
        assert "last.pt is damaged" in caplog.text and "the state before it" in caplog.text


def test_a_kill_between_two_renames_leaves_the_one_before(tmp_path: Path) -> None:
    run = Small()
    run.save(tmp_path, 1)
    run.save(tmp_path, 2)
    (tmp_path / STATE).unlink()
    state = run.load(tmp_path)
    assert state is not None and state["step"] == 1


def test_only_damaged_states_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    run = Small()
    run.save(tmp_path, 1)
    run.save(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"half")
    with pytest.raises(
        StateError, match=r"last\.pt is damaged.*last\.before\.pt is damaged.*remove"
    ):
        run.load(tmp_path)
    torch.save({"step": 3}, tmp_path / STATE)
    with pytest.raises(StateError, match="it has no 'average'"):
        run.load(tmp_path)
    remove_state(tmp_path)
    assert list(tmp_path.iterdir()) == []


_FULL = """
import resource, sys
from pathlib import Path
from tests.train.loop.test_run_state import Small
run = Small()
folder = Path(sys.argv[1])
run.save(folder, 1)
size = (folder / "last.pt").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
try:
    run.save(folder, 2)
except (OSError, RuntimeError) as error:
    print("refused:", error)
"""


def test_a_disk_that_takes_no_more_leaves_the_state_that_was_there(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, cwd=REPO
    )
    assert "refused:" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    state = Small().load(tmp_path)
    assert state is not None and state["step"] == 1
