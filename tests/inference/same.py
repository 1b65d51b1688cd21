"""Words to look for, and detections that are to be equal."""

from __future__ import annotations

import numpy as np
import supervision as sv

WORDS = ["Traffic Light", "a red mug", "containernumber", "taxi", "oil", "glass", "snow_shoe"]


def same(one: sv.Detections, other: sv.Detections, tolerance: float = 1e-5) -> None:
    np.testing.assert_array_equal(one.class_id, other.class_id)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=tolerance)
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=100 * tolerance)
