"""Simulated labeling: curves that begin with the words, and the command over a labelled set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.adaptation import plot
from app.adaptation.curves import curve, table
from app.adaptation.labeled_run import LabeledRun
from app.adaptation.simulate import ORDERS, Order, SimulationSettings, simulate
from detclipv2.inference.suppression import Suppression
from tests.app.adaptation import synthetic

NAMES = ("thing 0", "thing 1")


@pytest.fixture(scope="module")
def run() -> LabeledRun:
    rows, truth = synthetic.table(30)
    photos = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    rules = Suppression(0.6, 0.3, True, True)
    return LabeledRun(NAMES, rows, tuple(truth), photos, np.full(2, 0.7), rules)


@pytest.mark.parametrize("order", ORDERS)
def test_simulated_labeling_gets_better_and_begins_with_the_words(
    run: LabeledRun, order: Order
) -> None:
    settings = SimulationSettings(steps=(0, 5, 20, 50), order=order)
    first, few, many = simulate(run, settings, seed=0)
    assert first.learned.ap50 == first.words.ap50
    assert few.reviewed == 5
    assert len(many.left) == 10
    assert many.learned.ap50 > 1.8 * many.words.ap50
    saved = 100 * many.learned.spared.sum() / many.by_hand.sum()
    assert saved > 40 > 100 * many.words.spared.sum() / many.by_hand.sum()
    assert first.saved_in_all < many.saved_in_all < saved


def test_a_curve_has_intervals_round_its_means(run: LabeledRun) -> None:
    settings = SimulationSettings(steps=(0, 10))
    runs = [simulate(run, settings, seed) for seed in range(2)]
    none, ten = curve(runs)
    assert none["saved"]["words"] == none["saved"]["learned"]
    assert none["gain"] == {"mean": 0, "low": 0, "high": 0}
    assert ten["reviewed"] == 10
    assert ten["left"] == 20
    shares = [100 * one[1].learned.spared.sum() / one[1].by_hand.sum() for one in runs]
    saved = ten["saved"]["learned"]
    assert saved["mean"] == pytest.approx(np.mean(shares), abs=0.01)
    assert saved["low"] < saved["mean"] < saved["high"]
    gain = ten["gain"]
    assert gain["mean"] == pytest.approx(saved["mean"] - ten["saved"]["words"]["mean"], abs=0.02)
    shown = table([{"set": "squares", "order": "random", "points": [none, ten]}])
    assert shown.count("\n") == 3
    assert "| squares | random | 10 |" in shown


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set of six photos with a red square each, and an unused class."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    images, boxes = [], []
    for number in range(1, 7):
        pixels = random.integers(100, 156, (64, 64, 3), dtype=np.uint8)
        x, y = (int(one) for one in random.integers(0, 34, 2))
        pixels[y : y + 30, x : x + 30] = (220, 20, 20)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": [x, y, 30, 30]})
    categories = [{"id": 1, "name": "red thing"}, {"id": 2, "name": "cat"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def test_the_command_indexes_a_set_once_and_writes_curves(
    squares: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, out = tmp_path / "work", tmp_path / "curves.json"
    words = ["simulate", checkpoint, squares, "--work", work, "--seeds", 2, "--steps", "0,3"]
    assert cli.main([str(word) for word in [*words, "--out", out, "--photos", 5]]) == 0
    (one,) = json.loads(out.read_text())["curves"]
    assert (one["photos"], one["classes"]) == (5, 1), "no box of the other class"
    assert [point["reviewed"] for point in one["points"]] == [0, 3]
    assert "| reviewed |" in capsys.readouterr().out
    records = work / squares.name / "index" / "regions.bin"
    before = records.read_bytes()
    plot.main([str(out), "--out", str(tmp_path / "drawn")])
    for name in ("minutes", "ap50"):
        drawn = (tmp_path / "drawn" / f"learning_{name}.svg").read_text()
        assert drawn.startswith("<?xml") and "reviewed photos" in drawn and squares.name in drawn
    assert cli.main([str(word) for word in [*words, "--photos", 5]]) == 0
    assert records.read_bytes() == before, "no photo was looked at again"
    assert cli.main([str(word) for word in [*words, "--photos", 4]]) == cli.USAGE
    assert "other photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--steps", "5,x"], "numbers of photos"),
        (["--steps", "5,5"], "must rise"),
        (["--seeds", "0"], "at least one order"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    squares: Path, tmp_path: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = ["simulate", "nano", str(squares), "--work", str(tmp_path)]
    assert cli.main([*begin, *words]) == cli.USAGE
    assert why in capsys.readouterr().err
