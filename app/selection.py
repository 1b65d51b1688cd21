"""Which boxes of a picture count, for the page and for runs: of very many, the best.

Both ask the picture's `ScoreTable` for at most `candidates_for(max_boxes)` boxes above their
class's threshold. So where a strong class has more, weak ones lose theirs on both alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.engine_types import Settings
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.inference.score_table import ScoreTable


def shown_boxes(table: ScoreTable, vocabulary: Vocabulary, settings: Settings) -> sv.Detections:
    """The boxes that the settings show.

    Args:
        table: of the same classes.
        vocabulary: with the thresholds of single classes.
        settings: for the others.
    """
    return table.select(
        threshold=settings.threshold,
        nms_iou=settings.nms_iou,
        max_boxes=settings.max_boxes,
        vocabulary=vocabulary,
    )


def stored_boxes(
    table: ScoreTable, vocabulary: Vocabulary, settings: Settings, floor: float
) -> sv.Detections:
    """All boxes from `floor` up after suppression, for thresholds that change later.

    Those of `shown_boxes` are always among them: where the best from the floor up are too many to
    be stored, what the thresholds leave is selected alone.

    Args:
        table: of the same classes, without thresholds.
        vocabulary: with the thresholds of single classes.
        settings: for the others.
        floor: lowest score.
    """
    import numpy as np
    import supervision as sv

    from detclipv2.inference.postprocess import MAX_CANDIDATES, candidates_for, select

    nms_iou = settings.nms_iou
    found = table.candidates(floor, MAX_CANDIDATES)
    boxes = select(found, threshold=floor, nms_iou=nms_iou, max_boxes=MAX_CANDIDATES)
    if len(found.scores) < MAX_CANDIDATES:
        return boxes
    most = candidates_for(settings.max_boxes)
    above = table.candidates(settings.threshold, most, vocabulary)
    extra = select(above, threshold=settings.threshold, nms_iou=nms_iou, max_boxes=most)
    merged: sv.Detections = sv.Detections.merge([boxes, extra])
    assert merged.class_id is not None and merged.confidence is not None
    keys = np.column_stack([merged.class_id, merged.confidence, merged.xyxy])
    _, first = np.unique(keys, axis=0, return_index=True)
    order = first[np.argsort(-merged.confidence[first], kind="stable")]
    chosen = merged[order]
    assert isinstance(chosen, sv.Detections)
    return chosen
