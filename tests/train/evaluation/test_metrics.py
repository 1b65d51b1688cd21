from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.evaluation.boxes import random_rows, random_truth
from train.evaluation.metrics import detection
from train.evaluation.metrics.detection import average_precision, average_recall, evaluate
from train.evaluation.metrics.grounding import first_hit, recall_at
from train.evaluation.metrics.rows import Rows, best_of_each, coco_results, join, make_rows


@pytest.fixture
def truth() -> dict[str, Any]:
    """Two photos; two cats, one dog; a third class nobody saw."""
    boxes = [(1, 1, [10, 10, 50, 50]), (1, 2, [70, 10, 20, 80]), (2, 1, [5, 5, 90, 40])]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in (1, 2)],
        "categories": [{"id": i, "name": n} for i, n in ((1, "cat"), (2, "dog"), (3, "emu"))],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for n, (i, c, b) in enumerate(boxes, 1)
        ],
    }


def _perfect(truth: dict[str, Any]) -> Rows:
    boxes = [a["bbox"] for a in truth["annotations"]]
    return join(
        [
            make_rows(a["image_id"], a["category_id"], [(x, y, x + w, y + h)], [0.9])
            for a, (x, y, w, h) in zip(truth["annotations"], boxes, strict=True)
        ]
    )


def _reference(truth: dict[str, Any], rows: Rows, cap: int, classes: bool) -> dict[str, Any]:
    """What pycocotools says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = copy.deepcopy(truth)
        api.createIndex()
        evaluation = COCOeval(api, api.loadRes(coco_results(rows)), "bbox")
        evaluation.params.maxDets, evaluation.params.useCats = [cap], int(classes)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


@pytest.mark.parametrize("seed", range(6))
def test_coco_ap_is_pycocotools(seed: int) -> None:
    truth = random_truth(seed, crowds=True)
    rows = random_rows(truth, seed)
    result = _reference(truth, rows, 2, True)["precision"]
    assert evaluate(truth, rows, cap=2)["precision"] == pytest.approx(result, abs=1e-8)
    assert not np.allclose(result, _reference(truth, rows, 100, True)["precision"])
    figures = average_precision(truth, rows, 2)
    parts = {
        "ap": result[..., 0, 0],
        "ap75": result[5, ..., 0, 0],
        "small": result[..., 1, 0],
        "large": result[..., 3, 0],
    }
    for name, chosen in parts.items():
        value = getattr(figures, name)
        assert value == pytest.approx(100 * chosen[chosen > -1].mean(), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cap", [5, 100])
def test_class_agnostic_recall_is_pycocotools(
    seed: int, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "_PHOTOS", 7)
    truth = random_truth(seed, crowds=True)
    truth["images"] = truth["images"][::-1]
    rows = random_rows(truth, seed)
    rows["category"] = 1  # with several, pycocotools drops boxes of an unknown class
    recall = _reference(truth, rows, cap, False)["recall"][:, 0, :, 0]
    figures = average_recall(truth, rows, cap)
    expected = (100 * recall.mean(0)).tolist()
    found = [figures.all, figures.small, figures.medium, figures.large]
    assert found == pytest.approx(expected, abs=1e-6)
    assert average_recall(truth, rows[::-1], cap) == figures


def test_the_best_rows_of_each_stay_in_their_order() -> None:
    rows = join(
        [
            make_rows(2, [1, 2, 1], np.zeros((3, 4)), [0.5, 0.9, 0.9]),
            make_rows(1, [2, 1], np.zeros((2, 4)), [0.9, 0.9]),
        ]
    )
    assert best_of_each(rows, "image", 1)["category"].tolist() == [2, 2]
    assert best_of_each(rows, "category", 1)[["image", "category"]].tolist() == [(2, 2), (2, 1)]
    assert (best_of_each(rows, "image", 9) == rows).all() and rows.itemsize == 32


def test_rows_of_strange_photos_are_refused(truth: dict[str, Any]) -> None:
    rows = make_rows(7, 1, [(0, 0, 9, 9)], [0.5])
    with pytest.raises(ValueError, match="photo 7"):
        average_precision(truth, rows)
    with pytest.raises(ValueError, match="photo 7"):
        average_recall(truth, rows)


def test_perfect_boxes_score_100(truth: dict[str, Any]) -> None:
    figures = average_precision(truth, _perfect(truth))
    assert figures.ap == pytest.approx(100) and figures.ap50 == pytest.approx(100)
    assert figures.ap50_by_class == {"cat": pytest.approx(100), "dog": pytest.approx(100)}
    assert average_recall(truth, _perfect(truth)).all == pytest.approx(100)


def test_nothing_found_scores_0(truth: dict[str, Any]) -> None:
    nothing = _perfect(truth)[:0]
    figures = average_precision(truth, nothing)
    assert figures.ap == figures.ap50 == 0 and average_recall(truth, nothing).all == 0
    assert np.isnan(figures.small) and np.isnan(average_recall(truth, nothing).small)


def test_a_wrong_name_costs_precision_but_not_class_agnostic_recall(truth: dict[str, Any]) -> None:
    rows = _perfect(truth)
    rows["category"][1] = 3
    figures = average_precision(truth, rows)
    assert figures.ap50_by_class == {"cat": pytest.approx(100), "dog": 0}
    assert figures.ap50 == pytest.approx(50)
    assert average_recall(truth, rows).all == pytest.approx(100)


def test_a_loose_box_counts_at_half_overlap_only(truth: dict[str, Any]) -> None:
    rows = _perfect(truth)
    rows["box"][1] = [70, 10, 90, 70]  # IoU 0.75
    figures = average_precision(truth, rows)
    assert figures.ap50 == pytest.approx(100)
    # right at 0.5, 0.55 … 0.75: six of the ten thresholds
    assert figures.ap == pytest.approx((100 + 60) / 2)
    assert average_recall(truth, rows).all == pytest.approx(100 * (2 + 0.6) / 3)


def test_phrase_recall_by_hand() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    ranked = torch.tensor([[90.0, 90, 99, 99], [0, 0, 10, 5], [50, 50, 60, 60]])
    assert first_hit(ranked, truth) == 1  # IoU just 0.5
    assert first_hit(ranked, truth, iou=0.6) == 2
    assert first_hit(ranked[:1], truth) is None
    assert first_hit(torch.zeros(0, 4), truth) is None
    assert recall_at([0, 1, 5, None]) == {1: 25, 5: 50, 10: 75}
    with pytest.raises(ValueError, match="at least one"):
        recall_at([])
