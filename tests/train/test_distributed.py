from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.two_processes import CASES, gradients
from train.distributed import World, own_share

ROOT = Path(__file__).parent.parent.parent


def _two(out: Path, parallel: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--standalone", "-m", "tests.train.two_processes", str(out), parallel]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(torch.load(out))


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return {case: gradients(case, World(), "ddp") for case in CASES}


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(
    alone: dict[str, Any], tmp_path: Path, parallel: str
) -> None:
    """All data types; uneven numbers of concepts; the second process has no box at all."""
    two = _two(tmp_path / "two.pt", parallel)
    for case in CASES:
        for name, loss in alone[case]["losses"].items():
            torch.testing.assert_close(two[case]["losses"][name], loss, rtol=1e-5, atol=1e-5)
        expected, found = alone[case]["gradients"], two[case]["gradients"]
        assert any((g != 0).any() for g in expected.values())
        for name, gradient in expected.items():
            # Sums of single precision in another order: 1e-5 of the largest, where that is large.
            close = 1e-5 * max(1.0, float(gradient.abs().max()))
            torch.testing.assert_close(
                found[name], gradient, rtol=1e-5, atol=close, msg=f"{case}: {name}"
            )


def test_shares_of_a_list_are_contiguous_and_complete() -> None:
    for size in (1, 2, 3, 5):
        parts = [own_share(list("abcdefg"), World(rank, size)) for rank in range(size)]
        assert [letter for part in parts for letter in part] == list("abcdefg")
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
