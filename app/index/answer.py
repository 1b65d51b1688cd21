"""What an indexed run answers to other words, kept as a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.index.ask import Found, ask
from app.index.store import RegionIndex
from app.runs.records import ImageRow
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.inference.postprocess import MAX_CANDIDATES

if TYPE_CHECKING:
    import supervision as sv

    from app.engine import Engine
    from detclipv2.language.vocabulary import Vocabulary
    from detclipv2.serving import DetectSettings

LookAgain = Callable[[ImageRow, Found], "sv.Detections | None"]


def stored_settings(settings: DetectSettings) -> DetectSettings:
    """As settings of boxes that are stored.

    What is between classes is decided when boxes are shown, so that thresholds can rise.
    """
    return replace(settings, one_name=False, whole_things=False, max_boxes=MAX_CANDIDATES)


def answers_of(
    run: Run, index: RegionIndex, engine: Engine, vocabulary: Vocabulary, settings: DetectSettings
) -> tuple[list[Found], dict[int, ImageRow]]:
    """Boxes of the words on the photos that the run was done with, and the photos by their ids.

    Raises:
        RunIndexError: the index is of another checkpoint, or damaged.
    """
    rows = {row.id: row for row in run.images("done", "empty")}
    found = ask(index, engine.predictor, vocabulary, settings)
    return [one for one in found if one.image in rows], rows


def keep_answer(
    folder: Path,
    engine: Engine,
    vocabulary: Vocabulary,
    settings: DetectSettings,
    found: Iterable[Found],
    rows: Mapping[int, ImageRow],
    *,
    source: str,
    begun_by: str = "",
    look_again: LookAgain | None = None,
) -> Run:
    """A new run with these boxes; it has no index of its own.

    Args:
        folder: of the new run.
        engine: of the model that was asked.
        vocabulary: the words.
        settings: what was asked for.
        found: boxes of `stored_settings(settings)`.
        rows: photos of the run that was asked, by their ids; their sizes and digests are taken.
        source: see `RunSettings`.
        begun_by: see `RunSettings`.
        look_again: gives better boxes of a photo; None, or its None, leaves those of the index.

    Raises:
        RunError: the folder holds a run already, or there are no photos.
    """
    known = list(found)
    begun = settings_of(
        engine,
        vocabulary.serialise(),
        floor=settings.threshold,
        source=source,
        begun_by=begun_by,
        **vars(settings),
    )
    begun = replace(begun, model=f"{begun.model}-index")
    answer = Run.create(folder, begun, [rows[one.image].ref for one in known])
    for one, row in zip(known, answer.images(), strict=True):
        old = rows[one.image]
        again = None if look_again is None else look_again(row, one)
        boxes = detections_of(one, vocabulary) if again is None else again
        answer.save(row, boxes, old.sha256 or "", old.size, 0.0)
    return answer


def detections_of(found: Found, vocabulary: Vocabulary) -> sv.Detections:
    """The boxes as `supervision.Detections`."""
    import numpy as np
    import supervision as sv

    return sv.Detections(
        xyxy=found.boxes,
        confidence=found.scores,
        class_id=found.classes,
        data={"class_name": np.array(vocabulary.names)[found.classes]},
    )
