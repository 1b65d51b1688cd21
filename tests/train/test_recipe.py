"""The embedded checkpoint's recipe: it runs from the first step to the last, and goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from detclipv2.checkpoint import inspect
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from train.nano.recipe import RECIPE
from train.recipe import Order, follow

NAMES = [step.name for step in RECIPE]


@pytest.fixture(scope="module")
def made(ov_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Order:
    """The whole recipe, smoked."""
    out = tmp_path_factory.mktemp("recipe")
    order = Order(RECIPE, ov_mini, out, ("workers=0",), smoke=True)
    begun = time.monotonic()
    assert follow(order) == NAMES
    print(f"{time.monotonic() - begun:.0f} s")
    return order


def test_the_recipe_ends_with_a_detector_and_its_provenance(made: Order) -> None:
    folder = made.out / "nano" / "checkpoint"
    model = DetCLIPv2.from_pretrained(folder)
    assert Predictor(model, device="cpu").predict(made.root / "coco_dev/images/drawn 000.png", "x")
    card = inspect(folder)["card"]
    assert set(card) >= {"terms", "calibration", "abstention", "zero_shot_percent"}
    assert set(card["zero_shot_percent"]) == {"with_prior_figures", "without_prior_figures"}
    entries = json.loads((folder / "provenance.json").read_text())
    assert [entry["name"] for entry in entries] == NAMES[:-1]
    assert all(entry["seconds"] >= 0 and len(entry["hash"]) == 16 for entry in entries)
    everything = json.loads((made.out / "provenance.json").read_text())
    assert [entry["name"] for entry in everything] == NAMES and everything[:-1] == entries
    assert str(made.root) not in json.dumps(entries), "where things lay is nobody's business"
