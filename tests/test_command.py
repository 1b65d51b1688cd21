"""A reader that leaves early ends a command without complaint."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.places import REPO

_PRINTS = """
from detclipv2.command import run_command
run_command(lambda: [print('x' * 99) for _ in range({})] and {})
"""


@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_reader_that_leaves_gets_no_traceback(lines: int) -> None:
    """Whether the pipe breaks at a line or at the flush of the end."""
    command = [sys.executable, "-c", _PRINTS.format(lines, 0)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(60), said) == (141, b"")


def test_the_status_is_mains() -> None:
    command = [sys.executable, "-c", _PRINTS.format(1, 3)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "x" * 99 + "\n", "")


def test_a_pipe_of_another_kind_is_an_error() -> None:
    code = """
from detclipv2.command import run_command
def main():
    raise BrokenPipeError("elsewhere")
run_command(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "elsewhere" in done.stderr


def test_every_command_ends_so() -> None:
    guard = 'if __name__ == "__main__":\n'
    for package in ("app", "detclipv2", "train"):
        for file in (REPO / package).rglob("*.py"):
            _, found, rest = file.read_text(encoding="utf-8").partition(guard)
            if found:
                assert rest in ("    run_command(main)\n", "    run()\n"), file
