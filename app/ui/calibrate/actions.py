"""What the Calibrate tab does: labels in, curves and thresholds out, applied without the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from app.labelstudio.api.config_map import labels_of_project
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.learn.calibrate import Curve, Proposal, curves, propose, with_thresholds
from app.labelstudio.learn.pull import ReviewedTask, effort, pull
from app.labelstudio.learn.usable_reviews import usable_reviews
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.projects import Project, connected, number
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.trouble import TROUBLE

_LEGEND = (
    '<p id="legend"><span class="precision">precision</span> with its 95 % interval, '
    '<span class="recall">recall</span>, <span class="chosen">proposed threshold</span></p>'
)


@dataclass(frozen=True)
class Fetched:
    """What labelers made of the boxes, and the precision that was wanted of thresholds."""

    tasks: tuple[ReviewedTask, ...]
    precision: float


class CalibrateOutputs(NamedTuple):
    """What was fetched, the status, the table of proposals, and the plots."""

    fetched: Fetched | None = None
    status: str = ""
    table: Any = SKIP
    plots: str = ""


@dataclass(frozen=True)
class CalibrateActions:
    """The tab's handlers.

    Args:
        runs: where runs live.
        stops: of the tab's Stop button.
    """

    runs: RunFolders
    stops: Stops = field(default_factory=Stops)

    def calibrate(
        self,
        connection: Connection | None,
        project: Project,
        precision: float,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> CalibrateOutputs:
        """Thresholds from the project's labels."""
        try:
            on_progress = self.stops.progress_of("Reading labels", progress, visitor)
            tasks = tuple(pull(connected(connection), number(project), on_progress=on_progress))
            used = usable_reviews(tasks)
            found = curves(used.tasks)
            proposals = [propose(one, precision) for one in found.values()]
        except TROUBLE as error:
            return CalibrateOutputs(status=render.status("error", str(error)))
        if not tasks:
            text = "No labels yet: labelers have to submit tasks that began as predictions."
            return CalibrateOutputs(status=render.status("hint", text))
        rows = [
            [p.name, p.threshold, len(found[p.name].judged), found[p.name].missed, p.reason]
            for p in proposals
        ]
        said = render.status(
            "ok", f"{len(tasks)} submitted tasks", [effort(tasks).sentence(), used.sentence()]
        )
        plots = "".join(plot(found[p.name], p) for p in proposals)
        return CalibrateOutputs(
            Fetched(tasks, precision),
            said,
            gr.Dataframe(rows, visible=True),
            f'{_LEGEND}<div id="plots">{plots}</div>',
        )

    def apply(
        self,
        fetched: Fetched | None,
        run: str | None,
        connection: Connection | None,
        project: Project,
        visitor: gr.Request,
    ) -> str:
        """Set in a run what its own checkpoint's scores propose; no model runs."""
        try:
            if fetched is None:
                raise LabelStudioError("fetch labels first")
            opened = self.runs.open(run, visitor)
            used = usable_reviews(fetched.tasks, opened.settings.checkpoint)
            found = curves(used.tasks).values()
            proposals = [propose(one, fetched.precision) for one in found]
            if all(one.threshold is None for one in proposals):
                raise LabelStudioError(
                    f"no class has a proposal yet ({used.sentence()}); the table says why"
                )
            before = sum(opened.class_counts().values())
            words = opened.view.vocabulary
            labels = labels_of_project(connected(connection), number(project), words)
            vocabulary = with_thresholds(words, proposals, labels)
            counts = opened.apply(vocabulary.serialise())
            after = sum(opened.class_counts().values())
        except TROUBLE as error:
            return render.status("error", str(error))
        photos = f"{counts.done} of {counts.done + counts.empty} photos"
        return render.status(
            "ok",
            f"{before} boxes became {after}, on {photos}",
            [
                used.sentence(),
                f"the next push is version {opened.model_version}",
                *vocabulary.serialise().splitlines(),
            ],
        )


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
