from __future__ import annotations

from typing import Any

import pytest
import torch

from train.metrics.detection import average_precision, average_recall, detection_row
from train.metrics.grounding import first_hit, recall_at


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


def _perfect(truth: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for a in truth["annotations"]:
        x, y, w, h = a["bbox"]
        rows.append(detection_row(a["image_id"], a["category_id"], (x, y, x + w, y + h), 0.9))
    return rows


def test_perfect_boxes_score_100(truth: dict[str, Any]) -> None:
    figures = average_precision(truth, _perfect(truth))
    assert figures.ap == pytest.approx(100) and figures.ap50 == pytest.approx(100)
    assert figures.ap50_by_class == {"cat": pytest.approx(100), "dog": pytest.approx(100)}
    assert average_recall(truth, _perfect(truth)) == pytest.approx(100)


def test_nothing_found_scores_0(truth: dict[str, Any]) -> None:
    figures = average_precision(truth, [])
    assert figures.ap == figures.ap50 == 0 and average_recall(truth, []) == 0


def test_a_wrong_name_costs_precision_but_not_class_agnostic_recall(truth: dict[str, Any]) -> None:
    rows = _perfect(truth)
    rows[1]["category_id"] = 3
    figures = average_precision(truth, rows)
    assert figures.ap50_by_class == {"cat": pytest.approx(100), "dog": 0}
    assert figures.ap50 == pytest.approx(50)
    assert average_recall(truth, rows) == pytest.approx(100)


def test_a_loose_box_counts_at_half_overlap_only(truth: dict[str, Any]) -> None:
    rows = _perfect(truth)
    rows[1]["bbox"] = [70, 10, 20, 60]  # IoU 0.75
    figures = average_precision(truth, rows)
    assert figures.ap50 == pytest.approx(100)
    # right at 0.5, 0.55 … 0.75: six of the ten thresholds
    assert figures.ap == pytest.approx((100 + 60) / 2)
    assert average_recall(truth, rows) == pytest.approx(100 * (2 + 0.6) / 3)


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
