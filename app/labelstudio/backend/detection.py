"""The detector behind the live backend: whole photos, and what a labeler drew around."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.box import Box, Corners
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings

if TYPE_CHECKING:
    from PIL import Image

    from detclipv2.detectors.protocol import Detector

_MARGIN = 0.15
"""Of a drawn rectangle's sides, what is looked at around it."""
_LOWEST = 0.02
"""Lowest score inside a drawn rectangle: the labeler says that something is there."""
_SMALLEST = 4
"""Pixels of a side below which there is nothing to look at."""


def detect(
    detector: Detector[Any], picture: Image.Image, vocabulary: Vocabulary, settings: DetectSettings
) -> list[Box]:
    """The boxes of a photo, best first, in its pixels."""
    encoded = detector.encode_image(picture, *settings.encoding)
    return Box.from_detections(detector.detect(encoded, vocabulary, settings))


def detect_inside(
    detector: Detector[Any],
    picture: Image.Image,
    vocabulary: Vocabulary,
    drawn: Box,
    settings: DetectSettings,
) -> Box | None:
    """The thing that a labeler drew a rectangle around; None when nothing like it is there.

    Only what lies in the rectangle and its margin is looked at. The best box is the one with the
    highest product of score and overlap with what was drawn; its centre lies inside.

    Args:
        detector: looks.
        picture: upright.
        vocabulary: what is looked for, one class; others compete.
        drawn: the rectangle and its label, in pixels of the picture.
        settings: of whole photos.
    """
    x1, y1, x2, y2 = drawn.xyxy
    across, down = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
    part = (
        max(0, int(x1 - across)),
        max(0, int(y1 - down)),
        min(picture.width, int(x2 + across) + 1),
        min(picture.height, int(y2 + down) + 1),
    )
    if part[2] - part[0] < _SMALLEST or part[3] - part[1] < _SMALLEST:
        return None
    best: tuple[float, Box] | None = None
    closely = replace(settings, threshold=_LOWEST, tiles=1)
    for box in detect(detector, picture.crop(part), vocabulary, closely):
        a, b, c, d = box.xyxy
        moved = (a + part[0], b + part[1], c + part[0], d + part[1])
        centre = (moved[0] + moved[2]) / 2, (moved[1] + moved[3]) / 2
        if not (x1 <= centre[0] <= x2 and y1 <= centre[1] <= y2):
            continue
        rank = box.score * _overlap(moved, drawn.xyxy)
        if best is None or rank > best[0]:
            best = rank, Box(drawn.name, box.score, moved)
    return None if best is None else best[1]


def _overlap(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / max(areas - width * height, 1e-9)
