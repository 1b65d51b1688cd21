"""What the Compare tab does: from two sides and photos to counts, rows and a picture."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.comparison import Comparison, Side, compare
from app.engine import Engine
from app.engine_types import Settings
from app.runs.files import SourceError
from app.runs.sources import find_images
from app.ui import api as answers
from app.ui.compare.picture import picture
from app.ui.compare.table import NO_ROW, Compared, summary
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.permalink import NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.toasts import refusal, toast
from detclipv2.detectors.errors import DetectorError
from detclipv2.detectors.open import is_shipped, open_detector
from detclipv2.detectors.protocol import Detector
from detclipv2.language.vocabulary import VocabularyError

Outputs = tuple[Any, ...]

# Seconds. A page that is told of every photo has no time for a click on Cancel.
_SHOWN_EVERY = 0.3


@dataclass
class CompareActions:
    """The tab's handlers. The last other detector stays loaded.

    Args:
        engine: the one engine of this app.
        access: what visitors may name.
    """

    engine: Engine
    access: Access
    _other: tuple[str, Detector[Any]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self,
        photo: str | None,
        folder: str,
        words_a: str,
        words_b: str,
        template_a: str,
        template_b: str,
        model_a: str,
        model_b: str,
        threshold: float,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
        row: int = NO_ROW,
    ) -> Iterator[Outputs]:
        """Compare, showing what is done so far now and then, and `row` at the end; stops when
        cancelled."""
        try:
            paths = self._photos(photo, folder, visitor)
            self._check_models(model_a, model_b, visitor)
            progress(0.0, desc="Loading")
            sides = (
                self._side(words_a, template_a, model_a, threshold, "A"),
                self._side(words_b or words_a, template_b, model_b, threshold, "B"),
            )
        except (DetectorError, VocabularyError, ValueError) as error:
            yield render.status("error", str(error)), [], "", Compared()
            return
        root = Path(folder.strip()).expanduser() if folder.strip() else None
        done = Compared((), len(paths), root, row)
        yield gr.skip(), [], "", done
        results: list[Comparison] = []
        shown = -math.inf
        for result in compare(paths, *sides):
            results.append(result)
            now = time.monotonic()
            if now - shown < _SHOWN_EVERY and len(results) < len(paths):
                continue
            shown = now
            progress(len(results) / len(paths), desc=f"{len(results)} of {len(paths)} photos")
            done = replace(done, results=tuple(results))
            yield summary(results, len(paths), notes=_notes(sides)), gr.skip(), gr.skip(), done
        yield gr.skip(), done.rows, picture(*done.shown()), gr.skip()

    def link(
        self,
        compared: Compared,
        photo: str | None,
        folder: str,
        words_a: str,
        words_b: str,
        template_a: str,
        template_b: str,
        model_a: str,
        model_b: str,
        threshold: float,
    ) -> str:
        """The query of a link to this comparison."""
        if photo is None and not folder.strip():
            raise toast("Nothing to link to yet: give a photo or a folder.")
        return Link(
            "compare",
            "" if photo is None or folder.strip() else keep_photo(photo),
            words_a,
            {
                "folder": folder.strip(),
                "words_b": words_b,
                "templates": [template_a, template_b],
                "models": [model_a, model_b],
                "threshold": threshold,
                "row": compared.row,
            },
        ).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Outputs:
        """The tab as a link describes it: the controls, the status, and what sets it going."""
        told = link.settings
        folder = str(told.get("folder", ""))
        path = None if folder else find_photo(link.photo)
        shown = (
            None if path is None else str(path),
            folder,
            link.words,
            str(told.get("words_b", "")),
            *(str(text) for text in _two(told.get("templates"))),
            *(str(text) for text in _two(told.get("models"))),
            float(told.get("threshold", Settings().threshold)),
        )
        if path is None and not folder:
            return (*shown, render.status("error", NOT_HERE), gr.skip())
        return (*shown, gr.skip(), int(told.get("row", NO_ROW)))

    def run_linked(
        self, row: int | None, visitor: gr.Request, *asked: Any, progress: gr.Progress = PROGRESS
    ) -> Iterator[Outputs]:
        """`run` for a link that was followed; nothing where the page came up without one."""
        if row is not None:
            yield from self.run(*asked, visitor, progress, row)  # type: ignore[call-arg]
        else:
            yield gr.skip(), gr.skip(), gr.skip(), gr.skip()

    def cancelled(self, compared: Compared) -> Outputs:
        """What was done before the comparison was cancelled: status, rows, picture."""
        done = compared.results
        if not done or len(done) == compared.photos:
            return gr.skip(), gr.skip(), gr.skip()
        told = summary(done, compared.photos, "Cancelled: ")
        return told, compared.rows, picture(*compared.shown())

    def choose(self, compared: Compared, event: gr.SelectData) -> Outputs:
        """The picture of the photo whose row was clicked, and what is shown now."""
        row = compared.find(event.row_value) if event.row_value else NO_ROW
        if row == NO_ROW:
            return gr.skip(), gr.skip()
        chosen = replace(compared, row=row)
        return picture(*chosen.shown()), chosen

    def api_compare(
        self,
        photo: str | None,
        words_a: str,
        words_b: str,
        visitor: gr.Request,
        template_a: str = "",
        template_b: str = "",
        model_a: str = "",
        model_b: str = "",
        threshold: float = 0.3,
    ) -> answers.Compared:
        """Compare two vocabularies, templates or checkpoints on a photo.

        Returns every box of either side with what it is on each, as JSON.
        """
        try:
            paths = photos(photo, "")
            self._check_models(model_a, model_b, visitor)
            sides = (
                self._side(words_a, template_a, model_a, threshold, "A"),
                self._side(words_b or words_a, template_b, model_b, threshold, "B"),
            )
        except (DetectorError, VocabularyError, ValueError) as error:
            raise refusal(error) from error
        (result,) = compare(paths, *sides)
        if result.error:
            raise refusal(result.error)
        return {
            "counts": {str(kind): number for kind, number in result.counts().items()},
            "changes": [
                {
                    "kind": c.kind,
                    "box": list(c.box),
                    "before": _named(c.before),
                    "after": _named(c.after),
                }
                for c in result.changes
            ],
        }

    def _photos(self, photo: str | None, folder: str, visitor: gr.Request) -> list[Path]:
        if not folder.strip():
            return photos(photo, "")
        self.access.check_paths([folder.strip()], visitor)
        found = photos(None, folder)
        self.access.check_files(found, visitor)
        return found

    def _check_models(self, a: str, b: str, visitor: gr.Request) -> None:
        own = ("", self.engine.name)
        named = [m.strip() for m in (a, b) if m.strip() not in own and not is_shipped(m.strip())]
        self.access.check_paths(named, visitor)

    def _side(self, words: str, template: str, model: str, threshold: float, name: str) -> Side:
        if not words.strip():
            raise DetectorError(f"side {name} has no words yet; type what to look for")
        detector = self._detector(model.strip())
        try:
            vocabulary = detector.vocabulary(words)
        except VocabularyError as error:
            raise VocabularyError(f"side {name}, {error}") from error
        return Side(
            detector,
            vocabulary,
            template.strip() or None,
            Settings(threshold),
            self.engine.asked_size,
        )

    def _detector(self, model: str) -> Detector[Any]:
        if model in ("", self.engine.name):
            return self.engine.predictor
        with self._lock:
            if self._other is None or self._other[0] != model:
                self._other = (model, open_detector(model, slot=self.engine.predictor.slot))
            return self._other[1]


def photos(photo: str | None, folder: str) -> list[Path]:
    """The photo, or all photos below the folder.

    Raises:
        DetectorError: neither, or no photo there.
    """
    if folder.strip():
        if not Path(folder.strip()).expanduser().is_dir():
            raise DetectorError(
                f"no folder {folder.strip()!r} on the machine that serves this page"
            )
        try:
            return [Path(image.place) for image in find_images([Path(folder.strip()).expanduser()])]
        except SourceError as error:
            raise DetectorError(str(error)) from error
    if photo is None:
        raise DetectorError(
            "No photo yet. Upload, drop or paste one, name a folder, or try the sample."
        )
    return [Path(photo)]


def _notes(sides: Sequence[Side]) -> list[str]:
    """Why the threshold may change nothing."""
    words = [side.vocabulary for side in sides]
    if any(len(one.thresholds) < len(one.returned) for one in words):
        return []
    return ["Every class has its own @ threshold, so the slider changes nothing."]


def _two(values: Any) -> tuple[Any, Any]:
    first, second = values if isinstance(values, list) else ("", "")
    return first, second


def _named(entry: tuple[str, float] | None) -> answers.Named | None:
    return {"name": entry[0], "score": entry[1]} if entry else None
