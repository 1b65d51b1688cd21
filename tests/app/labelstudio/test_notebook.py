"""The round-trip notebook against the real server."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.app.labelstudio.conftest import TOKEN, Server
from tests.places import REPO


def test_the_round_trip_notebook_runs(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(REPO / "notebooks" / "03_label_studio_round_trip.ipynb", as_version=4)
    where = {"metadata": {"path": str(REPO)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=where).execute()
