"""The figures behind "not in this photo"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.places import DEMO
from train.data.readers.grounding import GroundedPhrase
from train.evaluation.calibrate_absence import CARD_KEY, choose, main, separation, swapped, table

BOX = np.array([[0, 0, 9, 9]], np.float32)


def test_precision_and_recall_of_absent_are_counted() -> None:
    present, absent = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 0.0, 1.5, 2.5])
    rows = table(present, absent, steps=201)
    row = min(rows, key=lambda r: abs(r["threshold"] - 1.2))
    assert (row["precision"], row["recall"], row["present_lost"]) == (2 / 3, 0.5, 0.25)
    best = choose(rows, 0.9)
    assert 0 < best["threshold"] <= 1
    assert (best["precision"], best["recall"]) == (1.0, 0.5)
    assert separation(present, absent) == 13 / 16
    with pytest.raises(ValueError, match=r"a precision of 1.1; the best is 1.000"):
        choose(rows, 1.1)


def test_nothing_related_counts_as_absent() -> None:
    photos = [
        (Path("a"), [GroundedPhrase("a brown dog", BOX), GroundedPhrase("a ball", BOX)]),
        (Path("b"), [GroundedPhrase("two puppies", BOX), GroundedPhrase("the red car", BOX)]),
    ]
    (own, absent), _ = swapped(photos)
    assert "two puppies" not in absent
    assert absent == ["the red car"]
    assert len(own) == len(absent)


def test_the_command_writes_the_card(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "flickr8k"
    (folder / "images").mkdir(parents=True)
    captions, images = [], []
    named = {"coffee": ["a cup", "a spoon"], "chelsea": ["a cat"], "rocket": ["a rocket", "smoke"]}
    for number, (name, phrases) in enumerate(named.items()):
        shutil.copy(DEMO / f"{name}.jpg", folder / "images")
        images.append(
            {"id": number, "file_name": f"{name}.jpg", "width": 300, "height": 200, "split": "val"}
        )
        boxed = [{"phrase": text, "boxes": [[1, 1, 50, 50]]} for text in phrases]
        captions.append({"image_id": number, "phrases": boxed})
    (folder / "grounding.json").write_text(json.dumps({"images": images, "captions": captions}))
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, checkpoint)
    main([str(checkpoint), str(tmp_path), "--precision", "0.1", "--write"])
    card = json.loads((checkpoint / "card.json").read_text())
    assert card["note"] == "random weights"
    assert card[CARD_KEY]["photos"] == 3
    assert card[CARD_KEY]["precision"] >= 0.1
    assert "present phrases lost" in capsys.readouterr().out
