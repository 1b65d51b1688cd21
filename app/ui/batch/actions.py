"""What the Batch tab does: from many photos and words to a run folder and its exports."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.engine import Engine
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.push import task_file
from app.progress import OnProgress, ignore_progress
from app.runs import sources
from app.runs.export import export
from app.runs.files import SourceError
from app.runs.jobs import Job, estimate
from app.runs.records import Counts, ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.shared import html as render
from app.ui.shared.access import Access, AccessError
from app.ui.shared.projects import Project, number
from app.ui.shared.run_folders import UPLOADS, RunFolders, keep_uploads
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.toasts import toast, warn
from app.ui.shared.trouble import TROUBLE

FORMAT_NAMES = {
    "COCO": "coco",
    "YOLO": "yolo",
    "Pascal VOC": "voc",
    "CSV": "csv",
    "Label Studio tasks": task_file.FORMAT,
}
_MOST_SHOWN = 200


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
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """How many photos there are and how long they will take, measured on three of them."""
        try:
            vocabulary = self.engine.vocabulary(prompts)
            read = self.reader(hosts, connection, visitor)
            on_progress = self.stops.teller("Listing photos", progress, visitor)
            images = self._images(
                files,
                places,
                every,
                project,
                unlabelled,
                connection,
                visitor,
                on_progress=on_progress,
            )
            on_progress = self.stops.teller("Measuring", progress, visitor)
            seconds = estimate(
                images,
                self.engine.predictor,
                read,
                vocabulary,
                self.engine.asked_size,
                tiles=int(tiles),
                on_progress=on_progress,
            )
        except TROUBLE as error:
            return render.status("error", str(error))
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
        threshold: float,
        name: str,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[Any, ...]:
        """Begin a run; returns the list of runs and the status."""
        try:
            with self.runs.new(name) as folder:
                vocabulary = self.engine.vocabulary(prompts)
                read = self.reader(hosts, connection, visitor)
                images = self._images(
                    files,
                    places,
                    every,
                    project,
                    unlabelled,
                    connection,
                    visitor,
                    folder / UPLOADS,
                    self.stops.teller("Listing photos", progress, visitor),
                )
                source = f"project {number(project)}" if project else places.strip() or "uploads"
                settings = settings_of(
                    self.engine,
                    vocabulary.serialise(),
                    threshold=threshold,
                    tiles=int(tiles),
                    source=source,
                    begun_by=self.access.origin(visitor),
                )
                run = Run.create(folder, settings, images)
        except TROUBLE as error:
            return gr.skip(), render.status("error", str(error))
        self._work(run, read)
        said = render.status("ok", f"Started “{folder.name}”; it goes on below, under Runs.")
        return gr.Dropdown(choices=self.runs.choices(visitor), value=folder.name), said

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
                if run.settings.checkpoint != self.engine.fingerprint:
                    raise RunError(
                        f"this run was begun with checkpoint {run.settings.checkpoint[:8]}; start "
                        f"the app with that model ({run.settings.model}) to go on"
                    )
                if retry:
                    run.retry_failed()
                self._work(run, self.reader(hosts, connection, visitor))
        except TROUBLE as error:
            return render.status("error", str(error))
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
            return render.status("error", str(error))
        photos = f"{counts.done} of {counts.done + counts.empty} photos"
        words = f"{before} boxes became {after}, on {photos}"
        return render.status("ok", words, _unmoved(run))

    def status(self, name: str | None, visitor: gr.Request) -> str:
        """Where a run stands, as HTML."""
        try:
            run = self.runs.open(name, visitor)
            counts, version = run.counts(), run.model_version
        except (RunError, OSError, sqlite3.Error) as error:
            return render.status("error" if name else "idle", str(error))
        job = self.runs.job(name, visitor)
        phase = "stopped" if counts.pending else "finished"
        left, problem = None, ""
        if job is not None:
            now = job.progress()
            phase, left, problem = now.phase, now.seconds_left, now.problem
        words = f"{run.folder.name}: {phase}, {counts.processed:,} of {counts.total:,} photos"
        if left and phase == "running":
            words += f", about {render.duration(left)} left"
        lines = [
            f"{counts.done} with boxes · {counts.empty} empty · {counts.failed} failed",
            f"threshold {run.view.threshold:g} · version {version}",
        ]
        if problem:
            return render.status("error", f"{words}. {problem}", lines)
        bar = render.bar(counts.processed, counts.total)
        return bar + render.status("ok" if not counts.pending else "idle", words, lines)

    def refresh(self, name: str | None, visitor: gr.Request) -> tuple[Any, ...]:
        """The list of runs again, and the chosen one's status and table."""
        choices = self.runs.choices(visitor)
        names = [name for _, name in choices]
        chosen = name if name in names else (names[0] if names else None)
        return gr.Dropdown(choices=choices, value=chosen), *self.tick(chosen, visitor)

    def tick(self, name: str | None, visitor: gr.Request) -> tuple[str, list[list[Any]]]:
        """A run's status and table, again and again."""
        return self.status(name, visitor), self.rows(name, visitor)

    def rows(self, name: str | None, visitor: gr.Request) -> list[list[Any]]:
        """Photos of a run: failed ones first, each with why."""
        try:
            run = self.runs.open(name, visitor)
            view = run.view
        except (RunError, OSError, sqlite3.Error):
            return []
        rows = []
        for states in (("failed",), ("done", "empty")):
            for image in run.images(*states):
                boxes = 0 if image.state == "failed" else len(run.boxes(image, view))
                rows.append([image.file_name, image.state, boxes, image.reason or ""])
                if len(rows) >= _MOST_SHOWN:
                    return rows
        return rows

    def export(
        self,
        name: str | None,
        threshold: float,
        kind: str,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[Any, str]:
        """A file of that format to download, and what is in it; folders are packed into a zip
        archive.

        The boxes are those of the slider: its threshold becomes the run's, as by `apply`.
        """
        try:
            run = self.runs.open(name, visitor)
            if threshold != run.view.threshold:
                self._filter(run, name, threshold, visitor)
            self.downloads.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.downloads))
            read = self.reader("", connection, visitor)
            on_progress = self.export_stops.teller("Exporting", progress, visitor)
            missed: list[str] = []
            made = _export(run, FORMAT_NAMES[kind], folder, read, on_progress, missed.append)
            if missed:
                warn(f"{len(missed)} photos are missing in it. {missed[0]}")
            if made.is_dir():
                made = Path(shutil.make_archive(str(folder / made.name), "zip", made))
            return gr.File(str(made), visible=True), _exported(run)
        except TROUBLE as error:
            raise toast(error) from error

    def _filter(self, run: Run, name: str | None, threshold: float, visitor: gr.Request) -> Counts:
        job = self.runs.job(name, visitor)
        if job is not None and not job.progress().over:
            raise RunError("this run still goes on; wait for its end, or cancel it")
        return run.apply(run.view.prompts, threshold)

    def _work(self, run: Run, read: Callable[[ImageRef], bytes]) -> None:
        job = Job(run, self.engine.predictor, read)
        self.runs.jobs[run.folder.name] = job
        job.start()

    def _images(
        self,
        files: list[str] | None,
        written: str,
        every: float | None,
        project: Project,
        unlabelled: bool,
        connection: Connection | None,
        visitor: gr.Request,
        keep: Path | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> list[ImageRef]:
        """What the form names; uploads are copied into `keep`, if it is told."""
        if project:
            server = connection or self.access.connect("", "", visitor)
            return images_of_project(
                server, number(project), only_unlabelled=unlabelled, on_progress=on_progress
            )
        places = [line.strip() for line in written.splitlines() if line.strip()]
        self.access.check_paths(places, visitor)
        paths = files or []
        if files and keep is not None:
            paths = keep_uploads(files, keep)
        if not paths and not places:
            raise RunError("no photos yet: upload some, name a folder, or a Label Studio project")
        named = [os.path.expanduser(place) for place in places]
        find = partial(sources.find_images, every=0 if every is None else every)
        if named:
            self.access.check_images(find(named), visitor)
        return find([*paths, *named])

    def reader(
        self, hosts: str, connection: Connection | None, visitor: gr.Request
    ) -> Callable[[ImageRef], bytes]:
        """Reads images for one visitor, from hosts that they may name."""
        allowed = self.access.hosts(hosts, visitor)

        @cache
        def tasks() -> TaskImages:
            server = connection or self.access.connect("", "", visitor)
            return TaskImages(server, hosts=allowed)

        def read(image: ImageRef) -> bytes:
            try:
                return sources.read(image, allowed) if image.task is None else tasks().read(image)
            except (AccessError, LabelStudioError) as error:
                raise SourceError(str(error)) from error

        return read


def _exported(run: Run) -> str:
    """What an export holds, and what of the run it does not."""
    counts = run.counts()
    boxes, photos = sum(run.class_counts().values()), counts.done + counts.empty
    words = f"Exported {boxes:,} boxes of {photos:,} photos at threshold {run.view.threshold:g}"
    missing = [
        f"{number:,} photos are not in it: {why}"
        for number, why in ((counts.pending, "not looked at yet"), (counts.failed, "failed"))
        if number
    ]
    return render.status("hint" if missing else "ok", words, missing)


def _unmoved(run: Run) -> list[str]:
    """Why a run's threshold may change nothing."""
    own = run.view.vocabulary.thresholds
    if len(own) < len(run.view.vocabulary.returned):
        return []
    return ["Every class has its own @ threshold, so this one changes nothing."]


def _export(
    run: Run,
    kind: str,
    folder: Path,
    read: Callable[[ImageRef], bytes],
    on_progress: OnProgress,
    on_missing: Callable[[str], None],
) -> Path:
    if kind == task_file.FORMAT:
        return task_file.write_tasks(run, folder, on_progress=on_progress)
    return export(run, kind, folder, read=read, on_progress=on_progress, on_missing=on_missing)
