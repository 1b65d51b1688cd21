from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.postprocess import find_candidates, select
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.model import DetCLIPv2
from tests.places import DEMO

PLACES = st.lists(st.floats(0.01, 0.99), min_size=2, max_size=20)


@given(PLACES, st.floats(0.3, 2.0), st.floats(-2.0, 2.0))
def test_it_keeps_the_order_and_can_be_undone(
    scores: list[float], scale: float, bias: float
) -> None:
    calibration = Calibration(scale, bias)
    given_scores = torch.tensor(scores, dtype=torch.double).sort().values
    mapped = calibration.apply(given_scores)
    assert (mapped.diff() >= 0).all() and mapped.min() >= 0 and mapped.max() <= 1
    torch.testing.assert_close(calibration.inverse(mapped), given_scores, rtol=1e-4, atol=1e-5)


def test_the_ends_stay_and_the_default_does_nothing() -> None:
    ends = torch.tensor([0.0, 1.0])
    assert torch.equal(Calibration(2.0, -1.0).inverse(ends), ends)
    scores = torch.rand(5)
    assert Calibration().apply(scores) is scores
    with pytest.raises(ValueError, match="scale > 0"):
        Calibration(-1.0, 0.0)


def test_a_calibrated_threshold_keeps_what_its_raw_one_kept() -> None:
    torch.manual_seed(0)
    corners = torch.rand(60, 2) * 80
    boxes = torch.cat((corners, corners + 20), dim=1)
    logits, centerness = 2 * torch.randn(60, 3), torch.randn(60)
    calibration, vocabulary = Calibration(1.7, 0.4), Vocabulary.parse("cat, dog @0.5, !sheep")
    raw_words = Vocabulary.parse(
        f"cat, dog @{float(calibration.inverse(torch.tensor(0.5))):.6f}, !sheep"
    )
    raw = find_candidates(boxes, logits, centerness, raw_words, (100, 100), floor=0.0)
    found = find_candidates(
        boxes, logits, centerness, vocabulary, (100, 100), floor=0.35, calibration=calibration
    )
    expected = select(raw, threshold=float(calibration.inverse(torch.tensor(0.35))))
    got = select(found, threshold=0.35)
    assert len(got) == len(expected) > 3
    assert (got.class_id == expected.class_id).all() and (got.xyxy == expected.xyxy).all()
    torch.testing.assert_close(
        torch.from_numpy(got.confidence),
        calibration.apply(torch.from_numpy(expected.confidence)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_model_carries_its_calibration(tiny_model: DetCLIPv2, tmp_path: Path) -> None:
    save_checkpoint(tiny_model, tmp_path / "raw")
    model = load_checkpoint(tmp_path / "raw")
    model.serving = dataclasses.replace(model.serving, score_scale=0.5, score_bias=-1.0)
    save_checkpoint(model, tmp_path / "calibrated")
    raw = Predictor(load_checkpoint(tmp_path / "raw"))
    mapped = Predictor(load_checkpoint(tmp_path / "calibrated"))
    photo, words = DEMO / "chelsea.jpg", ["cat", "dog"]
    _, before = raw.score(raw.encode_image(photo), words)
    _, after = mapped.score(mapped.encode_image(photo), words)
    torch.testing.assert_close(after, Calibration(0.5, -1.0).apply(before))
    found = mapped.predict(photo, words, threshold=0.01)
    assert len(found) and found.confidence.max() <= after.max() + 1e-5
