"""What the Label Studio tab does. The key is taken from its field and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from app.labelstudio.api.config_map import config_for
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.tasks import create_local_tasks, upload_tasks
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import plan, tasks_of
from app.labelstudio.push.planned import Plan
from app.labelstudio.push.push import check_configuration, push
from app.labelstudio.push.queue import by_labelers, by_threshold, write_queue
from app.labelstudio.push.run_projects import create_run_project, project_of_run
from app.runs import sources
from app.ui.labelstudio.outputs import (
    CheckOutputs,
    ConnectOutputs,
    PlanOutputs,
    ProjectOutputs,
    PushOutputs,
)
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.projects import Project, connected, listed, number
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.trouble import TROUBLE

_NAMED = 5
"""Photos that are named in a status, at most."""


@dataclass(frozen=True)
class LabelStudioActions:
    """The tabs' handlers.

    Args:
        runs: where runs live.
        access: what visitors may name.
        stops: of the tab's Stop button.
    """

    runs: RunFolders
    access: Access
    stops: Stops = field(default_factory=Stops)

    def connect(self, url: str, key: str, project: Project, visitor: gr.Request) -> ConnectOutputs:
        """Who am I?"""
        try:
            connection = self.access.connect(url.strip(), key.strip(), visitor)
            account = connection.check()
        except TROUBLE as error:
            status = render.status("error", str(error))
            return ConnectOutputs(None, "", status, listed(None, project))
        line = f"Connected to {account.url} as {account.email}"
        said = render.status(
            "ok",
            line,
            [
                f"{account.key_kind} · Label Studio {account.server} · {account.projects} projects "
                "visible",
                "The key is kept in memory until this page closes.",
            ],
        )
        return ConnectOutputs(connection, "", said, listed(connection, project))

    def check(
        self,
        connection: Connection | None,
        project: Project,
        root: str,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> CheckOutputs:
        """Open five images and say what came of each."""
        try:
            on_progress = self.stops.progress_of("Checking", progress, visitor)
            images = TaskImages(connected(connection), document_root=self._root(root, visitor))
            found = check_images(
                connected(connection), number(project), images, on_progress=on_progress
            )
        except TROUBLE as error:
            return CheckOutputs(render.status("error", str(error)))
        rows = [[c.task, c.url, c.kind, c.place, c.status] for c in found]
        good = sum(c.ok for c in found)
        kind: render.Kind = "ok" if good == len(found) and found else "hint"
        status = render.status(kind, f"{good} of {len(found)} images open")
        return CheckOutputs(status, gr.Dataframe(rows, visible=bool(rows)))

    def make_project(
        self, connection: Connection | None, run: str | None, title: str, visitor: gr.Request
    ) -> ProjectOutputs:
        """A project whose labels are the run's classes; the one there is under this title stays."""
        try:
            opened, name = self.runs.open(run, visitor), title.strip() or f"{run}"
            made = project_of_run(opened, connected(connection), name)
            if made is not None:
                said = render.status("ok", f"Project {made} was made from this run; it is chosen")
                return ProjectOutputs(listed(connection, made), said)
            made = create_run_project(opened, connected(connection), name)
        except TROUBLE as error:
            return ProjectOutputs(status=render.status("error", str(error)))
        said = render.status(
            "ok",
            f"Project {made} made, with one label a class",
            [config_for(opened.view.vocabulary)],
        )
        return ProjectOutputs(listed(connection, made), said)

    def make_tasks(
        self,
        connection: Connection | None,
        run: str | None,
        project: Project,
        root: str,
        how: str,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """Tasks for the run's images that have none; photos that cannot be read are named."""
        lost: list[str] = []
        try:
            rows = self.runs.open(run, visitor).images("done", "empty")
            # what came from a task has one, and its address names no file of this machine
            refs = [row.ref for row in rows if row.task is None]
            on_progress = self.stops.progress_of("Making tasks", progress, visitor)
            if how == "Upload the photos":
                made = upload_tasks(
                    connected(connection),
                    number(project),
                    refs,
                    sources.read,
                    on_progress,
                    on_missing=lambda image, why: lost.append(f"{image.file_name}: {why}"),
                )
            else:
                folder = self._root(root, visitor)
                if folder is None:
                    raise LabelStudioError("name Label Studio's document root first (below)")
                made = create_local_tasks(
                    connected(connection), number(project), refs, folder, on_progress
                )
        except TROUBLE as error:
            return render.status("error", str(error))
        said = f"{made.created} tasks made, {made.there} were there already"
        if not lost:
            return render.status("ok", said)
        more = [f"and {len(lost) - _NAMED} more"] if len(lost) > _NAMED else []
        return render.status("hint", f"{said}, {len(lost)} left out", [*lost[:_NAMED], *more])

    def dry_run(
        self,
        connection: Connection | None,
        run: str | None,
        project: Project,
        root: str,
        replace: bool,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> PlanOutputs:
        """What a push would do."""
        try:
            made = plan(
                self.runs.open(run, visitor),
                connected(connection),
                number(project),
                old="replace" if replace else "keep",
                document_root=self._root(root, visitor),
                on_progress=self.stops.progress_of("Reading tasks", progress, visitor),
            )
        except TROUBLE as error:
            said = render.status("error", str(error))
            return PlanOutputs(None, said, push=gr.Button(interactive=False))
        rows = [[m.name, m.label or "–", m.how] for m in made.labels.matches]
        missing = made.labels.addition
        return PlanOutputs(
            made,
            plan_html(made),
            gr.Dataframe(rows, visible=True),
            gr.Code(missing, visible=bool(missing)),
            gr.Button(visible=bool(missing)),
            gr.Button(interactive=made.requests > 0),
        )

    def add_labels(self, connection: Connection | None, made: Plan | None) -> str:
        """Add the missing labels to the project's configuration."""
        try:
            if made is None or not made.labels.missing:
                raise LabelStudioError("nothing is missing; make a dry run first")
            made.check_server(connected(connection))
            check_configuration(made, connected(connection))  # what others changed since stays
            change = {"label_config": made.labels.completed}
            connected(connection).write("PATCH", f"/api/projects/{made.project}/", json=change)
        except TROUBLE as error:
            return render.status("error", str(error))
        names = ", ".join(made.labels.missing)
        return render.status("ok", f"Added {names}. Make a new dry run, then push.")

    def push(
        self,
        connection: Connection | None,
        made: Plan | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> PushOutputs:
        """Carry the dry run out."""
        try:
            if made is None:
                raise LabelStudioError("make a dry run first")
            report = push(
                made, connected(connection), self.stops.progress_of("Pushing", progress, visitor)
            )
        except TROUBLE as error:
            again = "Make a new dry run and push again: it goes on where this one stopped."
            status = render.status("error", str(error), [again])
            return PushOutputs(None, status, gr.Button(interactive=False))
        words = (
            f"Pushed and read back: {report.created} created, {report.replaced} replaced, "
            f"{report.skipped} there already, {report.deleted} deleted"
        )
        url = f"{connected(connection).url}/projects/{made.project}/data"
        lines = [f"labelers now see {made.model_version}", url]
        return PushOutputs(None, render.status("ok", words, lines), gr.Button(interactive=False))

    def queue(
        self,
        connection: Connection | None,
        run: str | None,
        project: Project,
        how: str,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """Rank tasks and write the rank where the server sorts by it."""
        try:
            opened = self.runs.open(run, visitor)
            server, place = connected(connection), number(project)
            on_progress = self.stops.progress_of("Reading tasks", progress, visitor)
            if how == "what labelers changed":
                ranked = by_labelers(pull(server, place, on_progress=on_progress))
            else:
                ranked = by_threshold(
                    opened, tasks_of(opened, server, place, on_progress=on_progress)
                )
            on_progress = self.stops.progress_of("Writing the order", progress, visitor)
            count = write_queue(ranked, server, place, opened.model_version, on_progress)
        except TROUBLE as error:
            return render.status("error", str(error))
        return render.status(
            "ok",
            f"{count} tasks ranked",
            ["In Label Studio: Order by “Prediction score”, ascending; the first want you most."],
        )

    def _root(self, text: str, visitor: gr.Request) -> Path | None:
        if not text.strip():
            return None
        self.access.check_paths([text.strip()], visitor)
        return Path(text.strip())


def plan_html(made: Plan) -> str:
    """The dry run for the page."""
    kind: render.Kind = "hint" if made.left_out or made.unmatched else "ok"
    head, *rest = made.lines()
    lines = [line for line in rest if not line.startswith("class ")]  # the table shows them
    return render.status(kind, f"Dry run, nothing written: {head}", lines)
