"""What the Calibrate tab does: labels in, curves and thresholds out, applied without the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gradio as gr

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.learn.proposals import apply_to_run, proposals_of
from app.labelstudio.learn.pull import ReviewedTask, effort, pull
from app.ui.calibrate.plot import plots
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.projects import Project, connected, number
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import PROGRESS, Stops
from app.ui.shared.trouble import TROUBLE, explain


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
            found = proposals_of(tasks, precision)
        except TROUBLE as error:
            return CalibrateOutputs(status=render.status("error", explain(error)))
        if not tasks:
            text = "No labels yet: labelers have to submit tasks that began as predictions."
            return CalibrateOutputs(status=render.status("hint", text))
        rows = [
            [p.name, p.threshold, len(curve.judged), curve.missed, p.reason]
            for p, curve in zip(found.proposals, found.curves.values(), strict=True)
        ]
        lines = [effort(tasks).sentence(), found.reviews.sentence()]
        return CalibrateOutputs(
            Fetched(tasks, precision),
            render.status("ok", f"{len(tasks)} submitted tasks", lines),
            gr.Dataframe(rows, visible=True),
            plots(found),
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
            found = proposals_of(fetched.tasks, fetched.precision, opened.settings.checkpoint)
            if all(one.threshold is None for one in found.proposals):
                raise LabelStudioError(
                    f"no class has a proposal yet ({found.reviews.sentence()}); the table says why"
                )
            applied = apply_to_run(opened, found.proposals, connected(connection), number(project))
        except TROUBLE as error:
            return render.status("error", explain(error))
        counts = applied.counts
        photos = f"{counts.done} of {counts.done + counts.empty} photos"
        return render.status(
            "ok",
            f"{applied.before} boxes became {applied.after}, on {photos}",
            [
                found.reviews.sentence(),
                f"the next push is version {opened.model_version}",
                *applied.vocabulary.serialise().splitlines(),
            ],
        )
