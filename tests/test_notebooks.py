"""The notebooks run from top to bottom, on what the repository ships."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.places import REPO

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
# Run beside a real Label Studio, in tests/app/labelstudio.
_WITH_A_SERVER = ("03_label_studio_round_trip.ipynb",)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert all(not cell.get("outputs") for cell in cells)


@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if p.name not in _WITH_A_SERVER], ids=lambda path: path.stem
)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    # A cell that fails raises; each notebook asserts what it says.
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(REPO)}}
    ).execute()
