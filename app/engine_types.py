"""What the engine answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import supervision as sv
    from torch import Tensor

    from detclipv2.inference.alignment import Alignment
    from detclipv2.language.vocabulary import Vocabulary
    from detclipv2.serving import DetectSettings


@dataclass(frozen=True)
class ClassReport:
    """One class of a result: its own threshold if any, boxes shown, best score before filtering."""

    name: str
    threshold: float | None
    boxes: int
    best: float | None


@dataclass(frozen=True)
class Result:
    """The boxes of one photo and how they came about.

    Attributes:
        detections: xyxy in pixels of the upright original, best first.
        size: the original's width and height.
        key: hex name of the photo's content.
        seconds: from the request to the boxes.
        image_ran: whether the image tower ran for this, or its output was still there.
    """

    detections: sv.Detections
    classes: tuple[ClassReport, ...]
    vocabulary: Vocabulary
    settings: DetectSettings
    size: tuple[int, int]
    key: str
    seconds: float
    image_ran: bool

    def scaled_to(self, size: tuple[int, int]) -> sv.Detections:
        """The detections on a copy of the photo of another size (width, height)."""
        scale = np.array([size[0] / self.size[0], size[1] / self.size[1]] * 2)
        return replace(self.detections, xyxy=self.detections.xyxy * scale)


@dataclass(frozen=True, eq=False)
class Aligned:
    """The alignment of one photo and one caption, and how it came about.

    Attributes:
        maps: one (P, h, w) tensor of similarities a pyramid level, finest first.
        share: which part of each map's width and height the photo takes, from the top left.
        key: hex name of the photo's content.
        seconds: from the request to the scores.
        image_ran: whether the image tower ran for this, or its output was still there.
    """

    alignment: Alignment
    maps: list[Tensor]
    share: tuple[float, float]
    key: str
    seconds: float
    image_ran: bool
