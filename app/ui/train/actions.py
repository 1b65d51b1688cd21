"""What the Train tab does: from run folders to curves, facts and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd

from app.training_runs import Point, TrainingRun, thinned
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.cards import card, gallery, thumbnail
from app.ui.shared.events import SKIP
from app.ui.shared.permalink import Link
from app.ui.shared.photo import DEMO
from app.ui.shared.toasts import toast
from app.ui.shared.trouble import Trouble
from app.ui.train.find import SnapshotPhoto, find_runs, open_run, open_snapshot

_COLUMNS = ["step", "series", "value"]
_LATEST = "latest"
KINDS = {"detection": "boxes", "grounding": "grounding", "pairs": "pairs"}
"""The data types, and how their losses are headed."""


class FoundOutputs(NamedTuple):
    """The status, and the list of runs."""

    status: str
    run: Any


class RunOutputs(NamedTuple):
    """A run's components, or what a handler sets on them; the rest stays as it is.

    Attributes:
        status: where it stands.
        boxes: plot of the losses of detection data, as the next two of theirs.
        grounding: likewise.
        pairs: likewise.
        figures: plot of the evaluations.
        speed: plot.
        config: as it was asked for.
        snapshot: the list of alignments.
    """

    status: Any = SKIP
    boxes: Any = SKIP
    grounding: Any = SKIP
    pairs: Any = SKIP
    figures: Any = SKIP
    speed: Any = SKIP
    config: Any = SKIP
    snapshot: Any = SKIP


@dataclass(frozen=True)
class TrainActions:
    """The tab's handlers.

    Args:
        access: what visitors may name.
    """

    access: Access

    def find(self, root: str, visitor: gr.Request) -> FoundOutputs:
        """The runs below a folder."""
        runs = find_runs(root, self.access.permissions(visitor))
        if isinstance(runs, Trouble):
            return FoundOutputs(_error(runs), gr.Dropdown(choices=[], value=None))
        choices = [(name, str(run)) for name, run in runs.items()]
        return FoundOutputs(
            render.status("ok", f"{len(runs)} runs"),
            gr.Dropdown(choices=choices, value=choices[0][1]),
        )

    def show(self, folder: str | None, chosen: str | None, visitor: gr.Request) -> RunOutputs:
        """A run's curves and facts."""
        if not folder:
            return RunOutputs()
        run = open_run(folder, self.access.permissions(visitor))
        if isinstance(run, Trouble):
            return RunOutputs(_error(run))
        steps = [(f"step {int(file.stem.split('-')[1]):,}", str(file)) for file in run.snapshots]
        choices = [("the latest checkpoint", _LATEST), *reversed(steps)] if steps else []
        keep = chosen if chosen in [value for _, value in choices] else (_LATEST if steps else None)
        return RunOutputs(
            status=status_of(run),
            boxes=_plot(_losses_of(run, "detection")),
            grounding=_plot(_losses_of(run, "grounding")),
            pairs=_plot(_losses_of(run, "pairs")),
            figures=_plot(run.figures),
            speed=_plot(run.speed),
            config=run.config,
            snapshot=gr.Dropdown(choices=choices, value=keep),
        )

    def link(self, folder: str | None, chosen: str | None) -> str:
        """The query of a link to a run and one of its snapshots."""
        if not folder:
            raise toast("Nothing to link to yet: choose a run.")
        return Link("train", settings={"run": folder, "snapshot": chosen or ""}).query()

    def follow(self, asked: Link, visitor: gr.Request) -> Sequence[Any]:
        """The tab as a link describes it: the run, what `show` gives, the pictures."""
        folder, chosen = (str(asked.settings.get(name, "")) for name in ("run", "snapshot"))
        run = gr.Dropdown(choices=[folder], value=folder)
        return [run, *self.show(folder, chosen, visitor), self.alignments(folder, chosen, visitor)]

    def alignments(self, folder: str | None, chosen: str | None, visitor: gr.Request) -> str:
        """The alignments of a snapshot as pictures; every word is escaped."""
        if not folder or not chosen:
            return ""
        snapshot = open_snapshot(folder, chosen, self.access.permissions(visitor))
        if isinstance(snapshot, Trouble):
            return _error(snapshot)
        head = f'<p class="label">step {snapshot.step:,}</p>'
        return head + gallery(map(_card, snapshot.photos))


def status_of(run: TrainingRun) -> str:
    """Where a run stands, in a line."""
    rate = run.seconds / run.step if run.step else 0
    left = rate * (run.steps - run.step)
    words = f"step {run.step:,} of {run.steps:,} · {run.seconds / 60:.0f} min of training"
    if not run.step:
        return render.status("hint", "Begun; its first line of the log is not written yet.")
    if left > 0:
        words += f" · {left / 60:.0f} min left at this pace"
    lines = []
    if not run.figures:
        lines.append(
            "No zero-shot AP: it is measured where the run's root has the development set."
        )
    if not run.snapshots:
        lines.append("No alignments yet: they are kept at each checkpoint, every few minutes.")
    return render.status("ok" if run.step >= run.steps else "idle", words, lines)


def _card(photo: SnapshotPhoto) -> str:
    note = f"similarity {photo.similarity:.3f}"
    return card(photo.caption, note, thumbnail(DEMO / photo.photo), photo.size, photo.found)


def _error(trouble: Trouble) -> str:
    return render.status("error", trouble.message)


def _losses_of(run: TrainingRun, kind: str) -> tuple[Point, ...]:
    lead = f"{kind}/"
    return tuple(
        Point(p.step, p.series.removeprefix(lead), p.value)
        for p in run.losses
        if p.series.startswith(lead)
    )


def _plot(points: tuple[Point, ...]) -> gr.LinePlot:
    if not points:  # without any, the axes would be lists of words, or endless
        return gr.LinePlot(visible=False)
    rows = [(p.step, p.series, p.value) for p in thinned(points)]
    return gr.LinePlot(pd.DataFrame(rows, columns=_COLUMNS), visible=True)
