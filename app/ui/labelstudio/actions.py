"""What the Label Studio tab does. The key is taken from its field and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import gradio as gr

from app.labelstudio.api.connection import Connection
from app.labelstudio.push.planned import Plan
from app.ui.labelstudio import steps
from app.ui.labelstudio.outputs import (
    CheckOutputs,
    ConnectOutputs,
    PlanOutputs,
    ProjectOutputs,
    PushOutputs,
)
from app.ui.labelstudio.steps import OpenRun, Place
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.project_picker import listed
from app.ui.shared.projects import Project
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.trouble import Trouble

UPLOAD = "Upload the photos"
BY_LABELERS = "what labelers changed"
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
        made = steps.connect(partial(self.access.connect, url.strip(), key.strip(), visitor))
        if isinstance(made, Trouble):
            return ConnectOutputs(None, "", _error(made), listed(None, project))
        account = made.account
        message = render.status(
            "ok",
            f"Connected to {account.url} as {account.email}",
            [
                f"{account.key_kind} · Label Studio {account.server} · {account.projects} projects "
                "visible",
                "The key is kept in memory until this page closes.",
            ],
        )
        return ConnectOutputs(made.connection, "", message, listed(made.connection, project))

    def check(
        self,
        connection: Connection | None,
        project: Project,
        root: str,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> CheckOutputs:
        """Open five images and say what came of each."""
        place = self._place(connection, project, root, visitor)
        found = steps.check(place, self.stops.progress_of("Checking", progress, visitor))
        if isinstance(found, Trouble):
            return CheckOutputs(_error(found))
        rows = [[c.task, c.url, c.kind, c.place, c.status] for c in found]
        good = sum(c.ok for c in found)
        kind: render.Kind = "ok" if good == len(found) and found else "hint"
        status = render.status(kind, f"{good} of {len(found)} images open")
        return CheckOutputs(status, gr.Dataframe(rows, visible=bool(rows)))

    def make_project(
        self, connection: Connection | None, run: str | None, title: str, visitor: gr.Request
    ) -> ProjectOutputs:
        """A project whose labels are the run's classes; the one there is under this title stays."""
        made = steps.make_project(self._run(run, visitor), connection, title.strip() or f"{run}")
        if isinstance(made, Trouble):
            return ProjectOutputs(status=_error(made))
        if made.new:
            words = f"Project {made.number} made, with one label a class"
            message = render.status("ok", words, [made.config])
        else:
            words = f"Project {made.number} was made from this run; it is chosen"
            message = render.status("ok", words)
        return ProjectOutputs(listed(connection, made.number), message)

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
        made = steps.make_tasks(
            self._run(run, visitor),
            self._place(connection, project, root, visitor),
            how == UPLOAD,
            self.stops.progress_of("Making tasks", progress, visitor),
        )
        if isinstance(made, Trouble):
            return _error(made)
        lost = made.lost
        words = f"{made.report.created} tasks made, {made.report.there} were there already"
        if not lost:
            return render.status("ok", words)
        more = [f"and {len(lost) - _NAMED} more"] if len(lost) > _NAMED else []
        return render.status("hint", f"{words}, {len(lost)} left out", [*lost[:_NAMED], *more])

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
        made = steps.dry_run(
            self._run(run, visitor),
            self._place(connection, project, root, visitor),
            replace,
            self.stops.progress_of("Reading tasks", progress, visitor),
        )
        if isinstance(made, Trouble):
            return PlanOutputs(None, _error(made), push=gr.Button(interactive=False))
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
        added = steps.add_labels(connection, made)
        if isinstance(added, Trouble):
            return _error(added)
        words = f"Added {', '.join(added)}. Make a new dry run, then push."
        return render.status("ok", words)

    def push(
        self,
        connection: Connection | None,
        made: Plan | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> PushOutputs:
        """Carry the dry run out."""
        on_progress = self.stops.progress_of("Pushing", progress, visitor)
        report = steps.carry_out(connection, made, on_progress)
        if isinstance(report, Trouble):
            again = "Make a new dry run and push again: it goes on where this one stopped."
            status = render.status("error", report.message, [again])
            return PushOutputs(None, status, gr.Button(interactive=False))
        assert connection is not None and made is not None
        words = (
            f"Pushed and read back: {report.created} created, {report.replaced} replaced, "
            f"{report.skipped} there already, {report.deleted} deleted"
        )
        url = f"{connection.url}/projects/{made.project}/data"
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
        count = steps.rank(
            self._run(run, visitor),
            self._place(connection, project, "", visitor),
            how == BY_LABELERS,
            self.stops.progress_of("Reading tasks", progress, visitor),
            self.stops.progress_of("Writing the order", progress, visitor),
        )
        if isinstance(count, Trouble):
            return _error(count)
        return render.status(
            "ok",
            f"{count} tasks ranked",
            ["In Label Studio: Order by “Prediction score”, ascending; the first want you most."],
        )

    def _run(self, run: str | None, visitor: gr.Request) -> OpenRun:
        return partial(self.runs.open, run, visitor)

    def _place(
        self, connection: Connection | None, project: Project, root: str, visitor: gr.Request
    ) -> Place:
        return Place(connection, project, root, self.access.permissions(visitor))


def _error(trouble: Trouble) -> str:
    return render.status("error", trouble.message)


def plan_html(made: Plan) -> str:
    """The dry run for the page."""
    kind: render.Kind = "hint" if made.left_out or made.unmatched else "ok"
    head, *rest = made.lines()
    lines = [line for line in rest if not line.startswith("class ")]  # the table shows them
    return render.status(kind, f"Dry run, nothing written: {head}", lines)
