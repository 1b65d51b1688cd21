"""The one box that runs, exports, reviews and Label Studio share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import supervision as sv

Corners: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True)
class Box:
    """One box: the class's name, its score, xyxy in pixels of the upright original."""

    name: str
    score: float
    xyxy: Corners

    @classmethod
    def from_detections(cls, detections: sv.Detections) -> list[Box]:
        """One box for each detection, in their order.

        Args:
            detections: with `class_name` in `data`, as every detector here gives them.
        """
        if detections.confidence is None or len(detections) == 0:
            return []
        return [
            cls(str(name), score, (x1, y1, x2, y2))
            for name, score, (x1, y1, x2, y2) in zip(
                detections.data["class_name"],
                detections.confidence.tolist(),
                detections.xyxy.tolist(),
                strict=True,
            )
        ]
