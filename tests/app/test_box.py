"""Boxes of detections."""

from __future__ import annotations

import numpy as np
import supervision as sv

from app.box import Box


def test_boxes_keep_the_order_of_detections() -> None:
    detections = sv.Detections(
        xyxy=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
        confidence=np.array([0.5, 0.25], np.float32),
        class_id=np.array([1, 0]),
        data={"class_name": np.array(["cup", "cat"])},
    )
    assert Box.from_detections(detections) == [
        Box("cup", 0.5, (1.0, 2.0, 3.0, 4.0)),
        Box("cat", 0.25, (5.0, 6.0, 7.0, 8.0)),
    ]
    assert all(type(box.name) is str for box in Box.from_detections(detections))
    assert Box.from_detections(sv.Detections.empty()) == []
