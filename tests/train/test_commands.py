"""Every command of `train/` tells how it is used."""

from __future__ import annotations

import importlib

import pytest

from tests.places import REPO

COMMANDS = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts)
    for path in (REPO / "train").rglob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(command).main(["--help"])
    assert end.value.code == 0
    assert f"python -m {command}" in capsys.readouterr().out
