"""Which boxes of a picture count, for the page and for runs: of very many, the best.

At most `candidates_for(max_boxes)` boxes above their class's threshold reach the suppression. So
where a strong class has more, weak ones lose theirs on the page and in runs alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.box import Box
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.inference.score_table import ScoreTable


def choose_boxes(
    table: ScoreTable, vocabulary: Vocabulary, settings: DetectSettings, floor: float | None = None
) -> sv.Detections:
    """The boxes that the settings show; with a floor also lower ones, for thresholds that change.

    Args:
        table: of the same classes, without thresholds.
        vocabulary: with the thresholds of single classes.
        settings: threshold of the others, and suppression.
        floor: lowest score; None for the thresholds. With one, `max_boxes`, `one_name` and
            `whole_things` are left to whoever shows the boxes.
    """
    from detclipv2.inference.postprocess import MAX_CANDIDATES, candidates_for, select

    if floor is None:
        return table.select(settings, vocabulary=vocabulary)
    # What is between classes depends on the thresholds, so whoever shows the boxes sees to it.
    settings = replace(settings, one_name=False, whole_things=False)
    lower = table.candidates(floor, MAX_CANDIDATES)
    boxes = select(lower, settings, threshold=floor, max_boxes=MAX_CANDIDATES)
    if len(lower.scores) < MAX_CANDIDATES:
        return boxes
    # Too many to store all of them: what the thresholds leave is selected alone, too.
    most = candidates_for(settings.max_boxes)
    above = table.candidates(settings.threshold, most, vocabulary)
    return _union(boxes, select(above, settings, max_boxes=most))


def tidy_boxes(boxes: Sequence[Box], *, one_name: bool, whole_things: bool) -> list[int]:
    """Indices of the boxes of one photo that stay between classes and as whole things.

    Args:
        boxes: above their thresholds and suppressed within their classes, by falling score.
        one_name: see `DetectSettings`.
        whole_things: likewise.
    """
    if len(boxes) < 2 or not (one_name or whole_things):
        return list(range(len(boxes)))
    import torch

    from detclipv2.inference.suppression import Suppression, tidy

    number = {name: k for k, name in enumerate(dict.fromkeys(box.name for box in boxes))}
    classes = torch.tensor([number[box.name] for box in boxes])
    rules = Suppression(1.0, one_name=one_name, whole_things=whole_things)
    corners = torch.tensor([box.xyxy for box in boxes])
    stays: list[int] = tidy(corners, classes, torch.zeros_like(classes), rules).tolist()
    return stays


def _union(*parts: sv.Detections) -> sv.Detections:
    """Each box once, best first."""
    import numpy as np
    import supervision as sv

    merged: sv.Detections = sv.Detections.merge(list(parts))
    assert merged.class_id is not None and merged.confidence is not None
    keys = np.column_stack([merged.class_id, merged.confidence, merged.xyxy])
    _, first = np.unique(keys, axis=0, return_index=True)
    order = first[np.argsort(-merged.confidence[first], kind="stable")]
    chosen = merged[order]
    assert isinstance(chosen, sv.Detections)
    return chosen
