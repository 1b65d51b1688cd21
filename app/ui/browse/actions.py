"""What the Browse tab does: aligns a data set in the background, filters and shows its photos."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app.browse.job import BrowseJob, run_of
from app.browse.records import ORDERS, Order
from app.browse.store import BrowseRun
from app.engine import Engine
from app.formats.atomic import write_bytes
from app.ui.browse.find import ANY, GalleryInputs, find, open_photo, visible_runs
from app.ui.shared import html as render
from app.ui.shared.access import Access, AccessError, place
from app.ui.shared.cards import cards
from app.ui.shared.events import SKIP
from app.ui.shared.permalink import Link
from app.ui.shared.photo import cache_folder
from app.ui.shared.toasts import toast
from app.ui.shared.trouble import Trouble
from detclipv2.language.vocabulary import Vocabulary


class JobOutputs(NamedTuple):
    """The status, the run's folder, and the timer that keeps them up to date."""

    status: Any = SKIP
    folder: Any = SKIP
    timer: Any = SKIP


class GalleryOutputs(NamedTuple):
    """A page of the gallery, its place among the pages, and its number."""

    gallery: Any = SKIP
    place: Any = SKIP
    page: Any = SKIP


class OpenedOutputs(NamedTuple):
    """The Align tab's photo and caption, and the tab that is shown."""

    photo: Any
    caption: Any
    tabs: Any


class PromptsOutputs(NamedTuple):
    """The Detect tab's words, and the tab that is shown."""

    prompts: Any = SKIP
    tabs: Any = SKIP


@dataclass
class BrowseActions:
    """The tab's handlers. One data set is aligned at a time, for all visitors.

    Args:
        engine: the one engine of this app.
        access: what visitors may name.
    """

    engine: Engine
    access: Access
    _job: BrowseJob | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, source: str, visitor: gr.Request) -> JobOutputs:
        """Begin to align a data set, or go on with it."""
        if not source.strip():
            return _refuse("Name a data set: a folder or file on the machine that serves this.")
        try:
            path = place(source)
            self.access.check_paths([source.strip()], visitor)
        except AccessError as error:
            return _refuse(str(error))
        if not path.exists():
            return _refuse(f"no file or folder {source.strip()!r}; check the path")
        with self._lock:
            if self._job is not None and self._job.running:
                return _refuse("Another data set is being aligned; cancel it or wait for its end.")
            settings = self.engine.defaults
            run = run_of(path, self.engine.fingerprint, settings=settings)
            self._job = BrowseJob(run, path, self.engine.predictor, self.engine.name, settings)
            self._job.start()
        return JobOutputs(self.status(str(run.folder)), str(run.folder), gr.Timer(active=True))

    def cancel(self, folder: str) -> str:
        """Stop the job; what is done is kept, and the same data set goes on from there."""
        if self._job is not None:
            self._job.cancel()
            self._job.join(10)
        return self.status(folder)

    def choose(self, folder: str | None, visitor: gr.Request) -> JobOutputs:
        """Show a run made earlier."""
        run = next(
            (
                run
                for run in visible_runs(self.access.permissions(visitor))
                if str(run.folder) == folder
            ),
            None,
        )
        if run is None:
            return JobOutputs()
        return JobOutputs(self.status(str(run.folder)), str(run.folder), gr.Timer(active=True))

    def earlier(self, visitor: gr.Request) -> Any:
        """The runs that the visitor may see, for the list."""
        found = []
        for run in visible_runs(self.access.permissions(visitor)):
            about, counts = run.about, run.counts()
            if about is not None:
                words = f"{about.source} · {counts.total} captions · {about.model}"
                found.append((words, str(run.folder)))
        return gr.Dropdown(choices=found)

    def tick(self, folder: str) -> tuple[str, Any]:
        """The status while a job runs; the timer rests once it is over."""
        return self.status(folder), gr.Timer(active=self._at_work(folder))

    def status(self, folder: str) -> str:
        """How far the run in `folder` is."""
        if not folder:
            return render.status(
                "idle", "Every photo of a captioned data set, worst aligned first."
            )
        run = BrowseRun(Path(folder))
        counts, about, job = run.counts(), run.about, self._job
        mine = job is not None and job.run.folder == run.folder
        lines = [
            f"{n} left out: {reason}" for reason, n in (about.left_out if about else {}).items()
        ]
        for number, what in ((counts.failed, "could not be read"), (counts.empty, "name nothing")):
            if number:
                lines.append(f"{number} captions: {what}")
        done = f"{counts.total - counts.pending:,} of {counts.total:,} captions"
        if mine and job and job.error:
            return render.status("error", f"{done}. It ended early: {job.error}", lines)
        if mine and job and job.running:
            headline = "Reading the data set" if about is None else done
            if job.rate > 0:
                left = counts.pending / job.rate
                wait = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
                headline += f" · about {wait} left"
            return _bar(headline, 1 - counts.pending / max(1, counts.total))
        kind: render.Kind = "ok" if counts.pending == 0 else "hint"
        rest = "" if counts.pending == 0 else ". Stopped; press Align all to go on"
        return render.status(kind, done + rest, lines)

    def show(
        self,
        folder: str,
        phrase: str,
        most: float,
        missing: bool,
        least: float,
        order: Order,
        page: float,
        visitor: gr.Request,
    ) -> GalleryOutputs:
        """A page of the gallery."""
        if not folder:
            return GalleryOutputs()
        inputs = GalleryInputs(folder, phrase, most, missing, least, order, page)
        found = find(inputs, self.access.permissions(visitor))
        if isinstance(found, Trouble):
            return GalleryOutputs(render.status("error", found.message))
        place = f"{found.total:,} captions · page {found.number} of {found.pages:,}"
        return GalleryOutputs(
            cards(found.photos, least), f'<p class="label">{place}</p>', found.number
        )

    def link(
        self,
        folder: str,
        phrase: str,
        most: float,
        missing: bool,
        least: float,
        order: str,
        page: float,
    ) -> str:
        """The query of a link to this page of the gallery."""
        if not folder:
            raise toast("Nothing to link to yet: align a data set.")
        return Link(
            "browse",
            words=phrase,
            settings={
                "run": Path(folder).name,
                "most": most,
                "missing": missing,
                "least": least,
                "order": order,
                "page": int(page or 1),
            },
        ).query()

    def follow(self, link: Link, visitor: gr.Request) -> Sequence[Any]:
        """The tab as a link describes it.

        Folder, filters, the phrase again, what `show` gives, status, timer.
        """
        settings = link.settings
        name = str(settings.get("run", ""))
        run = next(
            (
                run
                for run in visible_runs(self.access.permissions(visitor))
                if run.folder.name == name
            ),
            None,
        )
        folder = "" if run is None else str(run.folder)
        asked = settings.get("order")
        order: Order = asked if asked in ORDERS else "worst"
        filters = (
            folder,
            link.words,
            float(settings.get("most", ANY)),
            bool(settings.get("missing", False)),
            float(settings.get("least", self.engine.evidence)),
            order,
        )
        if run is None:
            message = (
                "The data set of this link was not aligned on this machine; align it here first."
            )
            status = render.status("error", message)
            return [*filters, link.words, *GalleryOutputs(), status, SKIP]
        shown = self.show(*filters, float(settings.get("page", 1)), visitor)
        return [*filters, link.words, *shown, self.status(folder), gr.Timer(active=True)]

    def open(self, folder: str, visitor: gr.Request, event: gr.EventData) -> OpenedOutputs:
        """A card's photo and caption into the Align tab."""
        found = open_photo(folder, event._data.get("photo"), self.access.permissions(visitor))
        if isinstance(found, Trouble):
            raise toast(found.message)
        # gradio serves files of its own cache only
        name = hashlib.sha256(found.content).hexdigest()[:16]
        path = cache_folder() / name / f"{found.name}.img"
        write_bytes(path, found.content)
        return OpenedOutputs(str(path), found.caption, gr.Tabs(selected="align"))

    def vocabulary(self, folder: str, least: float) -> list[list[Any]]:
        """The data set's noun phrases with their counts."""
        if not folder:
            return []
        rows = BrowseRun(Path(folder)).vocabulary(least)
        return [[text, count, round(gone, 3), round(mean, 3)] for text, count, gone, mean in rows]

    def as_prompts(self, rows: list[list[Any]], top: float) -> PromptsOutputs:
        """The most frequent phrases as the Detect tab's prompts."""
        names = [str(row[0]) for row in rows[: int(top)] if str(row[0]).strip()]
        if not names:
            return PromptsOutputs()
        return PromptsOutputs(Vocabulary.of(names).serialise(), gr.Tabs(selected="detect"))

    def _at_work(self, folder: str) -> bool:
        job = self._job
        return job is not None and job.running and str(job.run.folder) == folder


def _refuse(text: str) -> JobOutputs:
    return JobOutputs(render.status("error", text))


def _bar(text: str, share: float) -> str:
    return (
        f'<div class="status ok" role="status"><span>{escape(text)}</span>'
        f'<progress max="1" value="{share:.3f}"></progress></div>'
    )
