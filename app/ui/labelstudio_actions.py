"""What the Label Studio and Calibrate tabs do. The key is taken from its field and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.labelstudio.calibrate import Curve, Proposal, curves, propose, with_thresholds
from app.labelstudio.config_map import config_for
from app.labelstudio.connection import Connection, LabelStudioError
from app.labelstudio.images import TaskImages, check_images
from app.labelstudio.plan import Plan, plan
from app.labelstudio.pull import effort, pull
from app.labelstudio.push import push
from app.labelstudio.queue import by_labelers, by_threshold, write_queue
from app.labelstudio.tasks import create_local_tasks, create_project, upload_tasks
from app.runs import sources
from app.ui import render
from app.ui.batch_actions import TROUBLE
from app.ui.run_folders import RunFolders

_PROGRESS = gr.Progress()  # gradio recognises a handler's progress bar by this default value


@dataclass(frozen=True)
class LabelStudioActions:
    """The tabs' handlers.

    Args:
        runs: where runs live.
    """

    runs: RunFolders

    def connect(self, url: str, key: str) -> tuple[Any, str, str]:
        """Who am I? Returns the connection, an emptied key field and the answer."""
        try:
            connection = Connection.from_environment(url.strip() or None, key.strip() or None)
            account = connection.check()
        except TROUBLE as error:
            return None, "", render.status("error", str(error))
        line = f"Connected to {account.url} as {account.email}"
        return connection, "", render.status(
            "ok", line,
            [f"{account.key_kind} · Label Studio {account.server} · {account.projects} projects "
             "visible", "The key is kept in memory until this page closes."],
        )  # fmt: skip

    def check(self, connection: Connection | None, project: float | None, root: str) -> Any:
        """Open five images and say what came of each."""
        try:
            images = TaskImages(_need(connection), document_root=_root(root))
            found = check_images(_need(connection), _number(project), images)
        except TROUBLE as error:
            return render.status("error", str(error)), gr.skip()
        rows = [[c.task, c.url, c.kind, c.place, c.status] for c in found]
        good = sum(c.ok for c in found)
        kind: render.Kind = "ok" if good == len(found) and found else "hint"
        return render.status(kind, f"{good} of {len(found)} images open"), gr.Dataframe(
            rows, visible=bool(rows)
        )

    def make_project(self, connection: Connection | None, run: str | None, title: str) -> Any:
        """A project whose labels are the run's classes."""
        try:
            vocabulary = self.runs.open(run).view.vocabulary
            number = create_project(_need(connection), title.strip() or f"{run}", vocabulary)
        except TROUBLE as error:
            return gr.skip(), render.status("error", str(error))
        return number, render.status(
            "ok", f"Project {number} made, with one label a class", [config_for(vocabulary)]
        )

    def make_tasks(
        self, connection: Connection | None, run: str | None, project: float | None, root: str,
        how: str, progress: gr.Progress = _PROGRESS,
    ) -> str:  # fmt: skip
        """Tasks for the run's images that have none."""
        try:
            refs = [row.ref for row in self.runs.open(run).images("done", "empty")]

            def tell(done: int, total: int) -> None:
                progress((done, total), desc="Making tasks")

            if how == "Upload the photos":
                made = upload_tasks(_need(connection), _number(project), refs, sources.read, tell)
            else:
                folder = _root(root)
                if folder is None:
                    raise LabelStudioError("name Label Studio's document root first (below)")
                made = create_local_tasks(_need(connection), _number(project), refs, folder, tell)
        except TROUBLE as error:
            return render.status("error", str(error))
        return render.status("ok", f"{made.created} tasks made, {made.there} were there already")

    def dry_run(
        self, connection: Connection | None, run: str | None, project: float | None, root: str,
        replace: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Plan, status, mapping table, lines to add, and whether Push can be pressed."""
        try:
            made = plan(
                self.runs.open(run), _need(connection), _number(project),
                old="replace" if replace else "keep", document_root=_root(root),
            )  # fmt: skip
        except TROUBLE as error:
            said = render.status("error", str(error))
            return None, said, gr.skip(), gr.skip(), gr.skip(), gr.Button(interactive=False)
        rows = [[m.name, m.label or "–", m.how] for m in made.labels.matches]
        missing = made.labels.addition
        return (
            made, plan_html(made), gr.Dataframe(rows, visible=True),
            gr.Code(missing, visible=bool(missing)), gr.Button(visible=bool(missing)),
            gr.Button(interactive=True),
        )  # fmt: skip

    def add_labels(self, connection: Connection | None, made: Plan | None) -> str:
        """Add the missing labels to the project's configuration."""
        try:
            if made is None or not made.labels.missing:
                raise LabelStudioError("nothing is missing; make a dry run first")
            change = {"label_config": made.labels.completed}
            _need(connection).write("PATCH", f"/api/projects/{made.project}/", json=change)
        except TROUBLE as error:
            return render.status("error", str(error))
        names = ", ".join(made.labels.missing)
        return render.status("ok", f"Added {names}. Make a new dry run, then push.")

    def push(
        self, connection: Connection | None, made: Plan | None, progress: gr.Progress = _PROGRESS
    ) -> tuple[Any, ...]:
        """Carry the dry run out; returns plan, status and the button."""
        try:
            if made is None:
                raise LabelStudioError("make a dry run first")
            report = push(
                made, _need(connection), lambda done, total: progress((done, total), desc="Pushing")
            )
        except TROUBLE as error:
            again = "Make a new dry run and push again: it goes on where this one stopped."
            return None, render.status("error", str(error), [again]), gr.Button(interactive=False)
        words = (
            f"Pushed and read back: {report.created} created, {report.replaced} replaced, "
            f"{report.skipped} there already, {report.deleted} deleted"
        )
        url = f"{_need(connection).url}/projects/{made.project}/data"
        lines = [f"labelers now see {made.model_version}", url]
        return None, render.status("ok", words, lines), gr.Button(interactive=False)

    def queue(
        self, connection: Connection | None, run: str | None, project: float | None, how: str
    ) -> str:
        """Rank tasks and write the rank where the server sorts by it."""
        try:
            opened, server, number = self.runs.open(run), _need(connection), _number(project)
            if how == "what labelers changed":
                ranked = by_labelers(pull(server, number))
            else:
                ranked = by_threshold(opened)
            count = write_queue(ranked, server, number, opened.model_version)
        except TROUBLE as error:
            return render.status("error", str(error))
        return render.status(
            "ok", f"{count} tasks ranked",
            ["In Label Studio: Order by “Prediction score”, ascending; the first want you most."],
        )  # fmt: skip

    def calibrate(
        self, connection: Connection | None, project: float | None, precision: float
    ) -> tuple[Any, ...]:
        """Proposals, status, table and plots."""
        try:
            tasks = list(pull(_need(connection), _number(project)))
            found = curves(tasks)
            proposals = [propose(one, precision) for one in found.values()]
        except TROUBLE as error:
            return None, render.status("error", str(error)), gr.skip(), ""
        if not tasks:
            text = "No labels yet: labelers have to submit tasks that began as predictions."
            return None, render.status("hint", text), gr.skip(), ""
        rows = [
            [p.name, p.threshold, len(found[p.name].judged), found[p.name].missed, p.reason]
            for p in proposals
        ]
        said = render.status("ok", f"{len(tasks)} submitted tasks", [effort(tasks).sentence()])
        plots = "".join(plot(found[p.name], p) for p in proposals)
        return proposals, said, gr.Dataframe(rows, visible=True), f'<div id="plots">{plots}</div>'

    def apply(self, proposals: list[Proposal] | None, run: str | None) -> str:
        """Set the proposals in a run; no model runs."""
        try:
            if not proposals:
                raise LabelStudioError("fetch labels first")
            opened = self.runs.open(run)
            before = sum(opened.class_counts().values())
            vocabulary = with_thresholds(opened.view.vocabulary, proposals)
            counts = opened.apply(vocabulary.serialise())
            after = sum(opened.class_counts().values())
        except TROUBLE as error:
            return render.status("error", str(error))
        return render.status(
            "ok", f"{before} boxes became {after}; {counts.done} photos with boxes, {counts.empty} "
            "empty", [f"the next push is version {opened.model_version}",
                      *vocabulary.serialise().splitlines()],
        )  # fmt: skip


def plan_html(made: Plan) -> str:
    """The dry run for the page."""
    kind: render.Kind = "hint" if made.left_out or made.unmatched else "ok"
    head, *rest = made.lines()
    lines = [line for line in rest if not line.startswith("class ")]  # the table shows them
    return render.status(kind, f"Dry run, nothing written: {head}", lines)


def plot(found: Curve, proposal: Proposal) -> str:
    """Precision (with its interval) and recall against the threshold, as inline SVG."""
    width, height, pad = 300, 170, 28
    points = found.points

    def x(value: float) -> float:
        return pad + value * (width - pad - 8)

    def y(value: float) -> float:
        return 8 + (1 - value) * (height - pad - 8)

    def path(values: list[float]) -> str:
        pairs = zip(points, values, strict=True)
        return " ".join(f"{x(p.threshold):.1f},{y(v):.1f}" for p, v in pairs)

    low = path([p.precision_interval[0] for p in points]).split()
    high = path([p.precision_interval[1] for p in points]).split()
    band = " ".join([*low, *reversed(high)])
    grid = "".join(
        f'<line x1="{pad}" x2="{width - 8}" y1="{y(v)}" y2="{y(v)}" class="grid"/>'
        f'<text x="{pad - 4}" y="{y(v) + 3}" text-anchor="end">{v:g}</text>'
        f'<text x="{x(v)}" y="{height - 10}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.5, 1)
    )
    mark = ""
    if proposal.threshold is not None:
        at = x(proposal.threshold)
        mark = f'<line x1="{at}" x2="{at}" y1="{y(0)}" y2="{y(1)}" class="chosen"/>'
    few = "" if found.enough else " (too few to say)"
    name = escape(found.name)
    return (
        f"<figure><figcaption><b>{name}</b>{few}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="precision and recall of '
        f'{name}">{grid}<polygon points="{band}" class="band"/>'
        f'<polyline points="{path([p.precision for p in points])}" class="precision"/>'
        f'<polyline points="{path([p.recall for p in points])}" class="recall"/>{mark}</svg>'
        "</figure>"
    )


def _need(connection: Connection | None) -> Connection:
    if connection is None:
        raise LabelStudioError("connect to Label Studio first (address and key, in its tab)")
    return connection


def _number(project: float | None) -> int:
    if not project:
        raise LabelStudioError("name the project: its number stands in its address")
    return int(project)


def _root(text: str) -> Path | None:
    return Path(text.strip()) if text.strip() else None
