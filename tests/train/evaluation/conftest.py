"""A drawn data set to judge by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.conftest import draw_set


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_set(tmp_path_factory.mktemp("protocols") / "drawn", count=10)
