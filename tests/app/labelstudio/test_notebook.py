"""The round-trip notebook against the real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.labelstudio.conftest import TOKEN, Server
from tests.notebooks import check
from tests.places import REPO


def test_the_round_trip_notebook_runs(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    check(REPO / "notebooks" / "03_label_studio_round_trip.ipynb")
