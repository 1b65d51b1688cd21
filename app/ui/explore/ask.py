"""From words to the boxes of a whole run, without the image tower; no gradio here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.engine import Engine
from app.formats.coco import CocoDataset
from app.index.answer import answers_of, detections_of, keep_answer, stored_settings
from app.index.ask import Found
from app.runs.store import Run
from app.ui.explore.cards import MOST
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.shared.trouble import TROUBLE, Trouble
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings


@dataclass(frozen=True, eq=False)
class Answer:
    """What a run answers to words.

    Attributes:
        vocabulary: the words.
        settings: what was asked for.
        found: the boxes of every photo.
        missing: photos that are not in the index.
        seconds: it took.
    """

    vocabulary: Vocabulary
    settings: DetectSettings
    found: Sequence[Found]
    missing: int
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Boxes by class."""
        classes = np.concatenate([one.classes for one in self.found])
        numbers = np.bincount(classes, minlength=len(self.vocabulary.names))
        return dict(zip(self.vocabulary.names, numbers.tolist(), strict=True))

    @property
    def photos(self) -> int:
        """How many photos have boxes."""
        return sum(bool(len(one.scores)) for one in self.found)

    def best(self, most: int = MOST) -> list[Found]:
        """The photos with the surest boxes."""
        some = [one for one in self.found if len(one.scores)]
        return sorted(some, key=lambda one: -float(one.scores[0]))[:most]


def answer(indexed: IndexedRun, engine: Engine, prompts: str, threshold: float) -> Answer | Trouble:
    """Ask a run of this engine's model."""
    if not prompts.strip():
        return Trouble("No words yet. Type what to look for, e.g. “cat, a red mug”.")
    start = time.perf_counter()
    try:
        vocabulary = engine.vocabulary(prompts)
        settings = replace(engine.list_defaults, threshold=float(threshold))
        found, rows = answers_of(indexed.run, indexed.index, engine, vocabulary, settings)
    except TROUBLE as error:
        return Trouble.of(error)
    missing = len(rows) - len(found)
    return Answer(vocabulary, settings, found, missing, time.perf_counter() - start)


def keep(
    indexed: IndexedRun, engine: Engine, prompts: str, threshold: float, folder: Path, begun_by: str
) -> Run:
    """The answer as a run of its own.

    Raises:
        ValueError: words or a threshold that cannot be used.
        RunIndexError: the index is damaged.
    """
    vocabulary = engine.vocabulary(prompts)
    settings = replace(engine.list_defaults, threshold=float(threshold))
    stored = stored_settings(settings)
    found, rows = answers_of(indexed.run, indexed.index, engine, vocabulary, stored)
    source = f"asked of {indexed.name}"
    return keep_answer(
        folder, engine, vocabulary, settings, found, rows, source=source, begun_by=begun_by
    )


def coco_of(indexed: IndexedRun, engine: Engine, found: Answer) -> dict[str, Any]:
    """The answer in COCO's format."""
    info = engine.describe(found.vocabulary, found.settings)
    dataset = CocoDataset(found.vocabulary.names, {**info, "run": indexed.name})
    for one in found.found:
        row = indexed.rows[one.image]
        dataset.add(row.file_name, row.size, detections_of(one, found.vocabulary))
    return dataset.to_dict()
