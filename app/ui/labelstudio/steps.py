"""The Label Studio tab's steps, from its controls to a typed result or why there is none.

No gradio here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.index.photos import photo_embeddings
from app.labelstudio.api.config_map import config_for
from app.labelstudio.api.connection import Account, Connection, LabelStudioError
from app.labelstudio.api.image_check import Checked, check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.tasks import TaskReport, create_local_tasks, upload_tasks
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import plan, tasks_of
from app.labelstudio.push.planned import Plan
from app.labelstudio.push.push import Report, check_configuration, push
from app.labelstudio.push.queue import by_labelers, by_threshold, write_queue
from app.labelstudio.push.run_projects import create_run_project, project_of_run
from app.progress import OnProgress
from app.runs import sources
from app.runs.store import Run
from app.ui.shared.permissions import Permissions
from app.ui.shared.projects import Project, connected, number
from app.ui.shared.trouble import TROUBLE, Trouble

OpenRun = Callable[[], Run]
"""Opens the chosen run; raises RunError where there is none, or where it is another visitor's."""


@dataclass(frozen=True)
class Place:
    """Where tasks are, as the controls say it; each part may be missing or wrong.

    Attributes:
        connection: of the visitor.
        project: the chosen one.
        root: Label Studio's folder of local files, as written.
        may: what the visitor may name.
    """

    connection: Connection | None
    project: Project
    root: str
    may: Permissions

    @property
    def server(self) -> Connection:
        """The connection.

        Raises:
            LabelStudioError: there is none yet.
        """
        return connected(self.connection)

    @property
    def number(self) -> int:
        """The project's number.

        Raises:
            LabelStudioError: none is chosen.
        """
        return number(self.project)

    @property
    def folder(self) -> Path | None:
        """Label Studio's folder of local files; None where none is written.

        Raises:
            ValueError: one that the visitor may not name.
        """
        if not self.root.strip():
            return None
        self.may.paths([self.root.strip()])
        return Path(self.root.strip())


@dataclass(frozen=True)
class Connected:
    """A connection, and whose it is."""

    connection: Connection
    account: Account


@dataclass(frozen=True)
class MadeProject:
    """A project of a run: its number, whether it is new, and its labeling configuration."""

    number: int
    new: bool
    config: str


@dataclass(frozen=True)
class MadeTasks:
    """Tasks of a run's images, and the images that could not be read, each with why."""

    report: TaskReport
    lost: tuple[str, ...]


def connect(open_connection: Callable[[], Connection]) -> Connected | Trouble:
    """Who am I?"""
    try:
        connection = open_connection()
        return Connected(connection, connection.check())
    except TROUBLE as error:
        return Trouble.of(error)


def check(place: Place, on_progress: OnProgress) -> Sequence[Checked] | Trouble:
    """Open five images."""
    try:
        images = TaskImages(place.server, document_root=place.folder)
        return check_images(place.server, place.number, images, on_progress=on_progress)
    except TROUBLE as error:
        return Trouble.of(error)


def make_project(
    open_run: OpenRun, connection: Connection | None, title: str
) -> MadeProject | Trouble:
    """A project whose labels are the run's classes; the one there is under this title stays."""
    try:
        run, server = open_run(), connected(connection)
        config = config_for(run.view.vocabulary)
        there = project_of_run(run, server, title)
        if there is not None:
            return MadeProject(there, False, config)
        return MadeProject(create_run_project(run, server, title), True, config)
    except TROUBLE as error:
        return Trouble.of(error)


def make_tasks(
    open_run: OpenRun, place: Place, upload: bool, on_progress: OnProgress
) -> MadeTasks | Trouble:
    """Tasks for the run's images that have none.

    Args:
        open_run: see `OpenRun`.
        place: of the tasks.
        upload: the photos, rather than name them in the document root.
        on_progress: called after every image.
    """
    lost: list[str] = []
    try:
        rows = open_run().images("done", "empty")
        # what came from a task has one, and its address names no file of this machine
        refs = [row.ref for row in rows if row.task is None]
        if upload:
            report = upload_tasks(
                place.server,
                place.number,
                refs,
                sources.read,
                on_progress,
                on_missing=lambda image, why: lost.append(f"{image.file_name}: {why}"),
            )
            return MadeTasks(report, tuple(lost))
        if place.folder is None:
            raise LabelStudioError("name Label Studio's document root first (below)")
        report = create_local_tasks(place.server, place.number, refs, place.folder, on_progress)
        return MadeTasks(report, ())
    except TROUBLE as error:
        return Trouble.of(error)


def dry_run(
    open_run: OpenRun, place: Place, replace: bool, on_progress: OnProgress
) -> Plan | Trouble:
    """What a push would do."""
    try:
        return plan(
            open_run(),
            place.server,
            place.number,
            old="replace" if replace else "keep",
            document_root=place.folder,
            on_progress=on_progress,
        )
    except TROUBLE as error:
        return Trouble.of(error)


def add_labels(connection: Connection | None, made: Plan | None) -> Sequence[str] | Trouble:
    """Add the missing labels to the project's configuration, and name them."""
    try:
        if made is None or not made.labels.missing:
            raise LabelStudioError("nothing is missing; make a dry run first")
        server = connected(connection)
        made.check_server(server)
        check_configuration(made, server)  # what others changed since stays
        change = {"label_config": made.labels.completed}
        server.write("PATCH", f"/api/projects/{made.project}/", json=change)
        return made.labels.missing
    except TROUBLE as error:
        return Trouble.of(error)


def carry_out(
    connection: Connection | None, made: Plan | None, on_progress: OnProgress
) -> Report | Trouble:
    """Push what a dry run planned."""
    try:
        if made is None:
            raise LabelStudioError("make a dry run first")
        return push(made, connected(connection), on_progress)
    except TROUBLE as error:
        return Trouble.of(error)


def rank(
    open_run: OpenRun, place: Place, labelers: bool, on_reading: OnProgress, on_writing: OnProgress
) -> int | Trouble:
    """Rank tasks, write the rank where the server sorts by it, and count them.

    Args:
        open_run: see `OpenRun`.
        place: of the tasks.
        labelers: by what labelers changed, rather than by scores near the threshold.
        on_reading: called while tasks are read.
        on_writing: called while ranks are written.
    """
    try:
        run, server, project = open_run(), place.server, place.number
        if labelers:
            ranked = by_labelers(pull(server, project, on_progress=on_reading))
        else:
            tasks = tasks_of(run, server, project, on_progress=on_reading)
            ranked = by_threshold(run, tasks, photo_embeddings(run))
        return write_queue(ranked, server, project, run.model_version, on_writing)
    except TROUBLE as error:
        return Trouble.of(error)
