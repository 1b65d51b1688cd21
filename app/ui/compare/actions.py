"""What the Compare tab does: from two sides and photos to counts, rows and a picture."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from app.comparison import Comparison, Side, compare
from app.ui.compare.find import CompareInputs, Detectors, prepare
from app.ui.compare.picture import picture
from app.ui.compare.table import NO_ROW, Compared, summary
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import SKIP
from app.ui.shared.permalink import NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.toasts import toast
from app.ui.shared.trouble import Trouble
from detclipv2.serving import DEFAULTS, Looks

# Seconds. A page that is updated for every photo has no time for a click on Cancel.
_SHOWN_EVERY = 0.3


class CompareOutputs(NamedTuple):
    """The tab's components, or what a handler sets on them; the rest stays as it is.

    Attributes:
        status: counts, or what is wrong.
        table: a row a change.
        picture: the photo of a row.
        compared: see `Compared`.
    """

    status: Any = SKIP
    table: Any = SKIP
    picture: Any = SKIP
    compared: Any = SKIP


@dataclass(frozen=True)
class CompareActions:
    """The tab's handlers.

    Args:
        detectors: what can be compared.
        access: what visitors may name.
    """

    detectors: Detectors
    access: Access

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
        looks_a: Looks,
        looks_b: Looks,
        threshold: float,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
        row: int = NO_ROW,
    ) -> Iterator[CompareOutputs]:
        """Compare, showing what is done so far now and then, and `row` at the end.

        Stops when cancelled.
        """
        inputs = CompareInputs(
            photo,
            folder,
            (words_a, words_b),
            (template_a, template_b),
            (model_a, model_b),
            (looks_a, looks_b),
            threshold,
        )
        progress(0.0, desc="Loading")
        prepared = prepare(self.detectors, inputs, self.access.permissions(visitor))
        if isinstance(prepared, Trouble):
            status = render.status("error", prepared.message)
            yield CompareOutputs(status, table=[], picture="", compared=Compared())
            return
        total = len(prepared.paths)
        done = Compared((), total, inputs.root, row)
        yield CompareOutputs(table=[], picture="", compared=done)
        results: list[Comparison] = []
        shown = -math.inf
        for result in compare(prepared.paths, *prepared.sides):
            results.append(result)
            now = time.monotonic()
            if now - shown < _SHOWN_EVERY and len(results) < total:
                continue
            shown = now
            progress(len(results) / total, desc=f"{len(results)} of {total} photos")
            done = replace(done, results=tuple(results))
            status = summary(results, total, notes=_notes(prepared.sides))
            yield CompareOutputs(status, compared=done)
        yield CompareOutputs(table=done.rows, picture=picture(*done.shown()))

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
        looks_a: Looks,
        looks_b: Looks,
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
                "looks": [looks_a, looks_b],
                "threshold": threshold,
                "row": compared.row,
            },
        ).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Sequence[Any]:
        """The tab as a link describes it: the controls, the status, and what sets it going."""
        settings, usual = link.settings, self.detectors.engine.defaults.looks
        folder = str(settings.get("folder", ""))
        path = None if folder else find_photo(link.photo)
        shown = (
            None if path is None else str(path),
            folder,
            link.words,
            str(settings.get("words_b", "")),
            *(str(text) for text in _two(settings.get("templates"))),
            *(str(text) for text in _two(settings.get("models"))),
            *(text or usual for text in _two(settings.get("looks"))),
            float(settings.get("threshold", DEFAULTS.threshold)),
        )
        if path is None and not folder:
            return (*shown, render.status("error", NOT_HERE), gr.skip())
        return (*shown, gr.skip(), int(settings.get("row", NO_ROW)))

    def run_linked(
        self, row: int | None, visitor: gr.Request, *asked: Any, progress: gr.Progress = PROGRESS
    ) -> Iterator[CompareOutputs]:
        """`run` for a link that was followed; nothing where the page came up without one."""
        if row is not None:
            yield from self.run(*asked, visitor, progress, row)  # type: ignore[call-arg]
        else:
            yield CompareOutputs()

    def cancelled(self, compared: Compared) -> CompareOutputs:
        """What was done before the comparison was cancelled."""
        done = compared.results
        if not done or len(done) == compared.photos:
            return CompareOutputs()
        status = summary(done, compared.photos, "Cancelled: ")
        return CompareOutputs(status, compared.rows, picture(*compared.shown()))

    def choose(self, compared: Compared, event: gr.SelectData) -> CompareOutputs:
        """The picture of the photo whose row was clicked, and what is shown now."""
        row = compared.find(event.row_value) if event.row_value else NO_ROW
        if row == NO_ROW:
            return CompareOutputs()
        chosen = replace(compared, row=row)
        return CompareOutputs(picture=picture(*chosen.shown()), compared=chosen)


def _notes(sides: Sequence[Side]) -> list[str]:
    """Why the threshold may change nothing."""
    words = [side.vocabulary for side in sides]
    if any(len(one.thresholds) < len(one.returned) for one in words):
        return []
    return ["Every class has its own @ threshold, so the slider changes nothing."]


def _two(values: Any) -> tuple[Any, Any]:
    first, second = values if isinstance(values, list) else ("", "")
    return first, second
