"""The round-trip notebook against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.labelstudio.conftest import TOKEN, Server
from tests.notebooks import RECORD, check
from tests.places import REPO


def test_the_round_trip_notebook_runs(
    server: Server,
    make_project: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not RECORD:  # what is stored must not depend on what a server holds already
        for _ in range(3):
            make_project([])
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    check(REPO / "notebooks" / "03_label_studio_round_trip.ipynb")
