"""The notebooks run from top to bottom, on what the repository ships, and show what they showed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.notebooks import check, compare
from tests.places import REPO

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
# Run beside a real Label Studio, in tests/app/labelstudio.
_WITH_A_SERVER = ("03_label_studio_round_trip.ipynb",)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_with_their_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert any(cell.get("outputs") for cell in cells)
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if p.name not in _WITH_A_SERVER], ids=lambda path: path.stem
)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    check(path)


def test_outputs_are_compared() -> None:
    compare("cat 0.91 at 12.0", "cat 0.92 at 12.1")
    for other in ("dog 0.91 at 12.0", "cat 0.99 at 12.0", "cat 0.91"):
        with pytest.raises(AssertionError):
            compare("cat 0.91 at 12.0", other)
