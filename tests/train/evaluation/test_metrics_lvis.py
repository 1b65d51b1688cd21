"""LVIS's figures against the LVIS API itself, and against rules worked out by hand."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.evaluation.boxes import random_rows, random_truth
from train.evaluation.metrics import lvis as ours
from train.evaluation.metrics.lvis import (
    average_precision,
    fixed_average_precision,
    lent_numpy_float,
)
from train.evaluation.metrics.rows import Rows, best_of_each, coco_results, join, make_rows

NAMES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "small": "APs",
    "medium": "APm",
    "large": "APl",
    "rare": "APr",
    "common": "APc",
    "frequent": "APf",
}


def reference(truth: dict[str, Any], rows: Rows, folder: Path, cap: int) -> dict[str, float]:
    """What lvis 0.5.3 says, in percent; `cap` boxes a photo, -1 for all."""
    from lvis import LVIS, LVISEval, LVISResults

    file = folder / "truth.json"
    file.write_text(json.dumps(truth))
    api = LVIS(str(file))
    with lent_numpy_float():
        evaluation = LVISEval(api, LVISResults(api, coco_results(rows), max_dets=cap), "bbox")
        evaluation.params.max_dets = cap
        evaluation.run()
    found = {key: 100 * evaluation.results[name] for key, name in NAMES.items()}
    return {key: float("nan") if value == -100 else value for key, value in found.items()}


@pytest.mark.parametrize("seed", range(6))
def test_fixed_ap_is_the_lvis_apis(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "CLASS_BOXES", 25)  # so that it cuts
    truth = random_truth(seed)
    for box in truth["annotations"][::9]:
        box["ignore"] = 1
    rows = random_rows(truth, seed)
    figures = asdict(fixed_average_precision(copy.deepcopy(truth), rows))
    best = best_of_each(rows, "category", 25)
    assert len(best) < len(rows)
    assert figures == pytest.approx(reference(truth, best, tmp_path, -1), abs=1e-6, nan_ok=True)
    whole = reference(truth, rows, tmp_path, -1)
    assert figures["ap"] != pytest.approx(whole["ap"], abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_ordinary_ap_is_the_lvis_apis(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "PHOTO_BOXES", 15)
    truth = random_truth(seed + 100, crowds=True)  # LVIS knows no crowds and must not see them
    rows = random_rows(truth, seed)
    figures = asdict(average_precision(copy.deepcopy(truth), rows))
    assert figures == pytest.approx(reference(truth, rows, tmp_path, 15), abs=1e-6, nan_ok=True)
    assert figures["ap"] != pytest.approx(reference(truth, rows, tmp_path, -1)["ap"], abs=1e-6)


def test_nothing_found_is_0_and_nothing_to_find_is_nan(tmp_path: Path) -> None:
    truth = random_truth(1)
    assert fixed_average_precision(truth, random_rows(truth, 1)[:0]).ap == 0
    truth["annotations"] = []
    assert np.isnan(
        list(asdict(fixed_average_precision(truth, random_rows(truth, 1))).values())
    ).all()


def test_federated_rules_by_hand() -> None:
    """One box of class 1 in photo 1; everything else that is found there is surplus."""
    truth = {
        "images": [
            {"id": i, "neg_category_ids": n, "not_exhaustive_category_ids": e}
            for i, n, e in ((1, [], []), (2, [1], []), (3, [], []), (4, [], [1]))
        ],
        "categories": [{"id": 1, "name": "cup", "frequency": "r"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500}
            for n, i in ((1, 1), (2, 4))
        ],
    }
    right = [make_rows(i, 1, [(0, 0, 50, 50)], [0.5]) for i in (1, 4)]

    def ap(image: int) -> float:
        surplus = make_rows(image, 1, [(70, 70, 90, 90)], [0.9])
        return fixed_average_precision(truth, join([*right, surplus])).ap

    assert ap(3) == pytest.approx(100)  # nobody looked for cups in photo 3
    assert ap(4) == pytest.approx(100)  # there may be more cups in photo 4
    assert ap(2) == pytest.approx(100 * 2 / 3)  # surely no cup in photo 2
    assert ap(1) == pytest.approx(100 * 2 / 3)  # all cups of photo 1 are known


def test_numpy_gets_its_lent_name_back() -> None:
    def fail() -> None:
        with lent_numpy_float():
            assert np.float is float  # type: ignore[attr-defined]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not hasattr(np, "float")
