"""Boxes, losses and files are those of the day the golden values were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.predictor import Predictor
from tests.golden import values

GOLDEN = json.loads(values.VALUES.read_text(encoding="utf-8"))
SAME_KERNELS = GOLDEN["kernels"] == values.kernels()
TOLERANCE = 1e-5


def compare(found: Any, golden: Any, name: str, scale: float = 1.0) -> None:
    """Equal to the bit with the same kernels, else to 1e-5 of the largest number beside it."""
    if SAME_KERNELS:
        assert found == golden, name
    elif isinstance(golden, dict):
        assert set(found) == set(golden), name
        for key in golden:
            if key != "digest":
                compare(found[key], golden[key], f"{name}/{key}")
    elif isinstance(golden, list):
        assert len(found) == len(golden), name
        numbers = [abs(v) for v in golden if isinstance(v, float)]
        for index, (mine, theirs) in enumerate(zip(found, golden, strict=True)):
            compare(mine, theirs, f"{name}[{index}]", max(numbers, default=scale))
    elif isinstance(golden, float):
        largest = max(1.0, scale, abs(golden))
        assert found == pytest.approx(golden, abs=TOLERANCE * largest), name
    elif isinstance(golden, str) and any(c.isdigit() for c in golden):
        pass  # numbers within text, digests of pictures that another JPEG library wrote
    else:
        assert found == golden, name


def check(found: dict[str, Any], *kinds: str) -> None:
    expected = {name: v for name, v in GOLDEN.items() if name.split("/")[0] in kinds}
    assert expected and set(found) == set(expected)
    found = json.loads(json.dumps(found))
    for name, golden in expected.items():
        compare(found[name], golden, name)


def test_nanos_regions_boxes_and_phrases(tmp_path: Path) -> None:
    predictor = Predictor(load_checkpoint("nano"), cache_dir=tmp_path)
    check(values.predictor_values(predictor), "regions", "boxes", "alignment")


def test_a_training_run_on_all_three_data_types(tmp_path: Path) -> None:
    check(values.training_values(tmp_path), "training")


def test_a_run_and_its_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A text that another test encoded, in a batch of other lengths, differs in the last bits.
    monkeypatch.setenv("DETCLIPV2_CACHE", str(tmp_path / "cache"))
    check(values.run_values(tmp_path), "run", "export")
