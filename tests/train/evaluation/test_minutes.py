"""Minutes saved: verdicts counted by hand, intervals, and the command on drawn photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from detclipv2.checkpoint import load_checkpoint
from detclipv2.datasets.labeled_set import LabeledSet
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.predictor import Predictor
from detclipv2.labeling.effort import Effort
from detclipv2.serving import DetectSettings
from train import evaluate
from train.evaluation import calibrate_lists
from train.evaluation.minutes import minutes, review, summary


def test_a_photo_reviewed_by_hand() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], float)
    effort, counts = review(boxes, np.array([0, 1, 1]), truth, np.array([0, 0]), 2)
    assert effort == Effort(kept=1, renamed=1, deleted=1)
    assert counts.shown.tolist() == [1, 2]
    assert counts.right.tolist() == [1, 0]
    assert counts.there.tolist() == [2, 0]


def test_summary_and_its_interval() -> None:
    found = summary([Effort(kept=1), Effort(deleted=1, added=1)] * 20)
    assert found["minutes_by_hand"] == pytest.approx(40 * 7 / 60)
    assert found["saved"] == pytest.approx(100 * (40 * 7 - 20 * 0.8 - 20 * 9.3) / (40 * 7))
    low, high = found["saved_interval"]
    assert low < found["saved"] < high
    assert found["precision"] == found["recall"] == 50
    sure = summary([Effort(kept=1)] * 5)
    assert sure["saved_interval"] == pytest.approx([sure["saved"]] * 2)
    empty = summary([Effort(deleted=1), Effort()])
    assert empty["saved"] == 0, "nothing to save a share of"


def test_without_boxes_nothing_is_saved_and_classes_add_up(
    drawn_set: Path, predictor: Predictor
) -> None:
    one = LabeledSet.parse(str(drawn_set.parent))
    found = minutes(predictor, [one], DetectSettings(threshold=1.0, size=64), lists=2)[0]
    of_set = found["minutes"]["sets"][one.name]
    assert of_set["saved"] == of_set["shown"] == 0
    assert of_set["minutes_with"] == of_set["minutes_by_hand"] > 0
    low = minutes(predictor, [one], DetectSettings(threshold=0.01, size=64), lists=2)[0]
    shown = low["minutes"]["sets"][one.name]
    assert shown["shown"] > 1
    assert sum(c["shown"] for c in shown["by_class"].values()) == shown["shown"] * shown["photos"]
    assert [*shown["by_length"]] == [str(n) for n in (1, 3) if n < shown["classes"]]


def test_the_command(
    drawn_set: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "minutes.json"
    arguments = [str(tiny_checkpoint), "--protocol", "minutes", "--size", "64", "--out", str(out)]
    evaluate.main([*arguments, f"{drawn_set.parent}:odd", f"{drawn_set.parent}:even"])
    figures = json.loads(out.read_text())
    photos = [one["photos"] for one in figures["minutes"]["sets"].values()]
    assert sum(photos) == len(json.loads(drawn_set.read_text())["images"])
    printed = capsys.readouterr().out
    assert "7 s to draw a box" in printed
    assert "mean of 2 sets" in printed
    for wrong, why in ((":dusk", "must be one of"), ("/nowhere:odd", "no instances.json")):
        with pytest.raises(SystemExit):
            evaluate.main([*arguments, f"{drawn_set.parent}{wrong}"])
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(arguments)


def test_the_threshold_for_lists_is_the_one_that_saves_most_and_changes_no_fingerprint(
    drawn_set: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, checkpoint)
    before = fingerprint(load_checkpoint(checkpoint))
    calibrate_lists.main([str(checkpoint), f"{drawn_set.parent}:train", "--write"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| mean")]
    means = [float(cell) for cell in rows[0].split("|")[2:-1]]
    model = load_checkpoint(checkpoint)
    # Of random weights every box is wrong, so the fewer are shown the better.
    assert model.serving.list_threshold == calibrate_lists.GRID[means.index(max(means))]
    assert model.serving.list_defaults.threshold == model.serving.list_threshold
    assert fingerprint(model) == before
    with pytest.raises(SystemExit):
        calibrate_lists.main(["nano", str(drawn_set.parent), "--write"])
    assert "needs a checkpoint folder" in capsys.readouterr().err
