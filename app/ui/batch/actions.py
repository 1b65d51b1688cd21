"""What the Batch tab does: from many photos and words to a run folder and its exports."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app.engine import Engine
from app.index.build import indexing
from app.labelstudio.api.connection import Connection
from app.runs.jobs import Job, estimate
from app.runs.records import Counts, ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.export import FORMAT_NAMES, make_file
from app.ui.batch.sources import BatchForm, images_of
from app.ui.batch.views import exported, rows_of, status_of, threshold_notes
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import SKIP
from app.ui.shared.projects import Project
from app.ui.shared.reading import Reader, reader_of
from app.ui.shared.run_folders import UPLOADS, RunFolders
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.toasts import toast, warn
from app.ui.shared.trouble import TROUBLE, explain
from detclipv2.serving import Looks


class StartOutputs(NamedTuple):
    """The list of runs, and what is said of the form."""

    run: Any = SKIP
    status: Any = SKIP


class RunOutputs(NamedTuple):
    """The list of runs, and the chosen one's status and table."""

    run: Any
    status: str
    table: list[list[Any]]


class ExportOutputs(NamedTuple):
    """The file to download, and what is in it."""

    file: Any
    status: str


@dataclass(frozen=True)
class BatchActions:
    """The tab's handlers.

    Args:
        engine: the one engine of this app.
        runs: where runs live.
        access: what visitors may name.
        downloads: where exports are packed; inside gradio's cache, which it empties.
        stops: of the Stop button beside Estimate.
        export_stops: of the one beside Export.
    """

    engine: Engine
    runs: RunFolders
    access: Access
    downloads: Path
    stops: Stops = field(default_factory=Stops)
    export_stops: Stops = field(default_factory=Stops)

    def estimate(
        self,
        files: list[str] | None,
        places: str,
        every: float | None,
        project: Project,
        unlabelled: bool,
        hosts: str,
        prompts: str,
        tiles: int,
        looks: Looks,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """How many photos there are and how long they will take, measured on three of them."""
        form = BatchForm(files, places, every, project, unlabelled, hosts, prompts, tiles, looks)
        try:
            vocabulary = self.engine.vocabulary(prompts)
            read = self.reader(hosts, connection, visitor)
            listing = self.stops.progress_of("Listing photos", progress, visitor)
            images = images_of(
                form,
                self.access.permissions(visitor),
                self._server(connection, visitor),
                on_progress=listing,
            )
            seconds = estimate(
                images,
                self.engine.predictor,
                read,
                vocabulary,
                replace(self.engine.list_defaults, tiles=form.tiles, looks=form.looks),
                on_progress=self.stops.progress_of("Measuring", progress, visitor),
            )
        except TROUBLE as error:
            return render.status("error", explain(error))
        return render.status("idle", f"{len(images):,} photos, about {render.duration(seconds)}")

    def start(
        self,
        files: list[str] | None,
        places: str,
        every: float | None,
        project: Project,
        unlabelled: bool,
        hosts: str,
        prompts: str,
        tiles: int,
        looks: Looks,
        threshold: float,
        name: str,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> StartOutputs:
        """Begin a run."""
        form = BatchForm(files, places, every, project, unlabelled, hosts, prompts, tiles, looks)
        try:
            with self.runs.new(name) as folder:
                vocabulary = self.engine.vocabulary(prompts)
                read = self.reader(hosts, connection, visitor)
                images = images_of(
                    form,
                    self.access.permissions(visitor),
                    self._server(connection, visitor),
                    folder / UPLOADS,
                    self.stops.progress_of("Listing photos", progress, visitor),
                )
                settings = settings_of(
                    self.engine,
                    vocabulary.serialise(),
                    threshold=threshold,
                    tiles=form.tiles,
                    looks=form.looks,
                    source=form.source,
                    begun_by=self.access.origin(visitor),
                )
                run = Run.create(folder, settings, images)
        except TROUBLE as error:
            return StartOutputs(status=render.status("error", explain(error)))
        self._work(run, read)
        return StartOutputs(
            gr.Dropdown(choices=self.runs.choices(visitor), value=folder.name),
            render.status("ok", f"Started “{folder.name}”; it goes on below, under Runs."),
        )

    def resume(
        self,
        name: str | None,
        hosts: str,
        retry: bool,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> str:
        """Go on with a paused, cancelled or interrupted run."""
        try:
            job = self.runs.job(name, visitor)
            if job is not None and job.progress().phase == "paused":
                job.resume()
            elif job is None or job.progress().over:
                run = self.runs.open(name, visitor)
                if run.settings.checkpoint not in self.engine.predictor.fingerprints:
                    raise RunError(
                        f"this run was begun with checkpoint {run.settings.checkpoint[:8]}; start "
                        f"the app with that model ({run.settings.model}) to go on"
                    )
                if retry:
                    run.retry_failed()
                self._work(run, self.reader(hosts, connection, visitor))
        except TROUBLE as error:
            return render.status("error", explain(error))
        return self.status(name, visitor)

    def pause(self, name: str | None, visitor: gr.Request) -> str:
        """Stop after the present photo, until it goes on."""
        if job := self.runs.job(name, visitor):
            job.pause()
        return self.status(name, visitor)

    def cancel(self, name: str | None, visitor: gr.Request) -> str:
        """Stop after the present photo; what is done stays."""
        if job := self.runs.job(name, visitor):
            job.cancel()
            job.wait(10)
        return self.status(name, visitor)

    def threshold(self, name: str | None, visitor: gr.Request) -> Any:
        """The slider at a run's present threshold."""
        try:
            return gr.Slider(value=self.runs.open(name, visitor).view.threshold)
        except (RunError, OSError, sqlite3.Error):
            return gr.skip()

    def apply(self, name: str | None, threshold: float, visitor: gr.Request) -> str:
        """Filter a run's boxes by another threshold; no model runs."""
        try:
            run = self.runs.open(name, visitor)
            before = sum(run.class_counts().values())
            counts = self._filter(run, name, threshold, visitor)
            after = sum(run.class_counts().values())
        except TROUBLE as error:
            return render.status("error", explain(error))
        photos = f"{counts.done} of {counts.done + counts.empty} photos"
        words = f"{before} boxes became {after}, on {photos}"
        return render.status("ok", words, threshold_notes(run))

    def status(self, name: str | None, visitor: gr.Request) -> str:
        """Where a run stands, as HTML."""
        try:
            return status_of(self.runs.open(name, visitor), self.runs.job(name, visitor))
        except (RunError, OSError, sqlite3.Error) as error:
            return render.status("error" if name else "idle", explain(error))

    def refresh(self, name: str | None, visitor: gr.Request) -> RunOutputs:
        """The list of runs again, and the chosen one's status and table."""
        choices = self.runs.choices(visitor)
        names = [name for _, name in choices]
        chosen = name if name in names else (names[0] if names else None)
        return RunOutputs(gr.Dropdown(choices=choices, value=chosen), *self.tick(chosen, visitor))

    def tick(self, name: str | None, visitor: gr.Request) -> tuple[str, list[list[Any]]]:
        """A run's status and table, again and again."""
        return self.status(name, visitor), self.rows(name, visitor)

    def rows(self, name: str | None, visitor: gr.Request) -> list[list[Any]]:
        """Photos of a run: failed ones first, each with why."""
        try:
            return rows_of(self.runs.open(name, visitor))
        except (RunError, OSError, sqlite3.Error):
            return []

    def export(
        self,
        name: str | None,
        threshold: float,
        kind: str,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> ExportOutputs:
        """A file of that format to download, and what is in it; folders become a zip archive.

        The boxes are those of the slider: its threshold becomes the run's, as by `apply`.
        """
        try:
            run = self.runs.open(name, visitor)
            if threshold != run.view.threshold:
                self._filter(run, name, threshold, visitor)
            missed: list[str] = []
            made = make_file(
                run,
                FORMAT_NAMES[kind],
                self.downloads,
                self.reader("", connection, visitor),
                self.export_stops.progress_of("Exporting", progress, visitor),
                missed.append,
            )
            if missed:
                warn(f"{len(missed)} photos are missing in it. {missed[0]}")
            return ExportOutputs(gr.File(str(made), visible=True), exported(run))
        except TROUBLE as error:
            raise toast(error) from error

    def _filter(self, run: Run, name: str | None, threshold: float, visitor: gr.Request) -> Counts:
        job = self.runs.job(name, visitor)
        if job is not None and not job.progress().over:
            raise RunError("this run still goes on; wait for its end, or cancel it")
        return run.apply(run.view.prompts, threshold)

    def _work(self, run: Run, read: Callable[[ImageRef], bytes]) -> None:
        job = Job(run, self.engine.predictor, read, indexing)
        self.runs.jobs[run.folder.name] = job
        job.start()

    def _server(
        self, connection: Connection | None, visitor: gr.Request
    ) -> Callable[[], Connection]:
        return lambda: connection or self.access.connect("", "", visitor)

    def reader(self, hosts: str, connection: Connection | None, visitor: gr.Request) -> Reader:
        """Reads images for one visitor, from hosts that they may name."""
        return reader_of(self.access.hosts(hosts, visitor), self._server(connection, visitor))
