"""Predicted boxes against the truth."""

from __future__ import annotations

import numpy as np

from detclipv2.labeling.verdicts import verdicts


def test_each_verdict() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], float)
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 6], [40, 0, 50, 10], [80, 0, 90, 9]], float)
    found, added = verdicts(boxes, np.array([0, 0, 1, 0]), truth, np.array([0, 0, 0, 1]))
    assert found == ["kept", "moved", "renamed", "deleted"]
    assert added == 1


def test_a_double_is_deleted_and_nothing_is_no_error() -> None:
    box = np.array([[0, 0, 10, 10]], float)
    none = np.zeros((0, 4))
    ids = np.array([0])
    assert verdicts(np.repeat(box, 2, 0), np.array([0, 0]), box, ids)[0] == ["kept", "deleted"]
    assert verdicts(none, ids[:0], box, ids) == ([], 1)
    assert verdicts(box, ids, none, ids[:0]) == (["deleted"], 0)
