"""Odd inputs to every reader of outside data: accepted or refused in words, never a crash, in time.

`make test` feeds some 7,000 of them within two minutes, the same ones every time. `pytest -m long
tests/fuzz` goes on with other ones for as long as `FUZZ_MINUTES` says (default: ten).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.driver import Surface, Tally, drive
from tests.fuzz.files import file_surfaces
from tests.fuzz.http_requests import request_surfaces
from tests.fuzz.words import word_surfaces

COUNTS = {
    "prompts": 1500,
    "files of prompts": 1000,
    "edited tables": 600,
    "pictures": 1200,
    "captions": 600,
    "archives": 300,
    "links": 800,
    "edited phrases": 500,
    "run folders": 150,
    "checkpoints": 60,
    "requests": 800,
    "labeling configurations": 500,
    "bodies to the live backend": 400,
}
SEED = 20261130


def surfaces(folder: Path, checkpoint: Path) -> list[Surface]:
    """All readers of outside data."""
    return [
        *word_surfaces(folder),
        *file_surfaces(folder, checkpoint),
        *request_surfaces(checkpoint),
    ]


@pytest.mark.parametrize("name", COUNTS)
def test_odd_inputs_are_accepted_or_refused_in_words(
    name: str, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    surface = next(one for one in surfaces(tmp_path, tiny_checkpoint) if one.name == name)
    tally = drive(surface, SEED, COUNTS[name])
    print(f"{name}: {tally}")
    assert tally.total == COUNTS[name]
    assert (tally.crashed, tally.over_time) == (0, 0), "\n".join(tally.problems[:3])
    assert tally.accepted, "some bent inputs are still good ones"


def test_all_surfaces_are_driven(tmp_path: Path, tiny_checkpoint: Path) -> None:
    assert {one.name for one in surfaces(tmp_path, tiny_checkpoint)} == set(COUNTS)


@pytest.mark.long
def test_other_inputs_for_as_long_as_wanted(tmp_path: Path, tiny_checkpoint: Path) -> None:
    ends = time.monotonic() + 60 * float(os.environ.get("FUZZ_MINUTES", "10"))
    driven = surfaces(tmp_path, tiny_checkpoint)
    sums = {one.name: Tally() for one in driven}
    seed = time.time_ns()
    while time.monotonic() < ends:
        seed += 1
        for one in driven:
            tally, told = drive(one, seed, max(10, COUNTS[one.name] // 10)), sums[one.name]
            for field in ("accepted", "refused", "crashed", "over_time"):
                setattr(told, field, getattr(told, field) + getattr(tally, field))
            told.problems += [f"seed {seed}, {problem}" for problem in tally.problems]
    for name, told in sums.items():
        print(f"{name}: {told}")
    problems = [problem for told in sums.values() for problem in told.problems]
    assert not problems, "\n".join(problems[:10])
