"""A task as the server gives it."""

from __future__ import annotations

TASK = {
    "id": 1,
    "data": {"image": "/data/upload/1/a.jpg"},
    "total_annotations": 1,
    "predictions": [{"id": 1, "model_version": "v", "score": 0.5, "result": []}],
    "annotations": [{"id": 1, "parent_prediction": 1, "result": [], "lead_time": 1.0}],
}
