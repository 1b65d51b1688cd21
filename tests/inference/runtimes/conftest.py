"""Counts what is traced."""

from __future__ import annotations

from typing import Any

import pytest

from detclipv2 import DetCLIPv2
from detclipv2.inference.runtimes import openvino as openvino_tower


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that were traced."""
    names: list[str] = []
    convert = openvino_tower._convert

    def count(model: DetCLIPv2) -> Any:
        names.append(model.config.name)
        return convert(model)

    monkeypatch.setattr(openvino_tower, "_convert", count)
    return names
