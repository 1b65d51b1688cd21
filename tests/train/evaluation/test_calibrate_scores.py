"""Scores that are shares of right boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from detclipv2.checkpoint import inspect
from detclipv2.inference.calibration import Calibration
from tests.places import DEMO
from train.evaluation.calibrate_scores import (
    Found,
    anchored,
    best_f1,
    expected_error,
    f1_at,
    fit,
    main,
    matched,
)


def test_the_fit_finds_the_curve_that_made_the_boxes_right() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(40_000, generator=generator) * 0.9 + 0.05
    truth = Calibration(1.8, -0.7)
    right = torch.rand(40_000, generator=generator) < truth.apply(scores)
    found = fit(Found(scores, right, 1))
    assert (found.scale, found.bias) == pytest.approx((1.8, -0.7), abs=0.06)
    assert expected_error(found.apply(scores), right) < 0.01 < expected_error(scores, right)
    with pytest.raises(ValueError, match="right and wrong"):
        fit(Found(scores, torch.ones_like(right), 1))


def test_a_true_box_is_found_once() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    boxes = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60], [80, 80, 90, 90]])
    assert matched(boxes, truth).tolist() == [True, False, True, False]
    assert matched(boxes, truth[:0]).tolist() == [False] * 4


def test_the_default_threshold_becomes_the_one_with_the_best_f1() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    found = Found(scores, torch.tensor([True, True, True, False, False]), wanted=3)
    moved = found.under(anchored(Calibration(2.0, -1.0), found))
    assert best_f1(moved) == pytest.approx((0.3, 1.0), abs=1e-5)
    assert (moved.scores.diff() < 0).all()


def test_a_best_threshold_of_one_has_a_finite_bias() -> None:
    found = Found(torch.tensor([1.0, 0.5]), torch.tensor([True, False]), wanted=1)
    moved = anchored(Calibration(), found)
    assert best_f1(found.under(moved)) == pytest.approx((0.3, 1.0), abs=1e-4)


def test_f1_counts_what_was_not_found() -> None:
    found = Found(torch.tensor([0.2, 0.9, 0.6]), torch.tensor([True, True, False]), wanted=3)
    assert best_f1(found) == pytest.approx((0.2, 4 / 6))
    assert f1_at(found, 0.5) == pytest.approx(2 / 5)


def test_the_command_writes_the_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "flickr8k"
    (folder / "images").mkdir(parents=True)
    captions, images = [], []
    for number, split in enumerate(["train", "train", "val", "val"]):
        name = ("coffee", "chelsea", "rocket", "astronaut")[number]
        shutil.copy(DEMO / f"{name}.jpg", folder / "images")
        images.append(
            {"id": number, "file_name": f"{name}.jpg", "width": 600, "height": 400, "split": split}
        )
        # Boxes everywhere, so that random ones are right now and then.
        boxes = [[0, 0, w, h] for w in range(200, 601, 100) for h in (200, 300, 400)]
        phrases = [{"phrase": text, "boxes": boxes} for text in (f"a {name}", f"A {name}", "two")]
        captions.append({"image_id": number, "phrases": phrases})
    (folder / "grounding.json").write_text(json.dumps({"images": images, "captions": captions}))
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, checkpoint)
    main([str(checkpoint), str(tmp_path), "--write"])
    told = json.loads(capsys.readouterr().out)
    held = inspect(checkpoint)
    assert held["card"]["calibration"] == told and held["card"]["note"] == "random weights"
    assert held["config"]["serving"]["score_scale"] == told["scale"] != 1.0
