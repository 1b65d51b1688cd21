"""The Train tab: runs of train/ as they go on; starting one stays with the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from app.training import (
    Point,
    TrainingError,
    TrainingRun,
    find_training_runs,
    read_run,
    read_snapshot,
    thinned,
)
from app.ui import render
from app.ui.cards import Found, card, gallery, thumbnail
from app.ui.detect_actions import DEMO
from app.ui.events import PRIVATE
from app.ui.links import Followed, copies_link
from app.ui.permalink import Link

COMMAND = """\
python -m train.pretrain nano_boxes root=DATA out=runs/mine      # again: goes on where it was
python -m train.pretrain nano_joint --plan root=DATA             # what it would cost
python -m train.pretrain nano_joint --smoke root=DATA out=runs/try"""
_COLUMNS = ["step", "series", "value"]
Outputs = tuple[Any, ...]
_LATEST = "latest"
KINDS = {"detection": "boxes", "grounding": "grounding", "pairs": "pairs"}
"""The data types, and how their losses are headed."""
_SHOWN = len(KINDS) + 5


def find(root: str) -> Outputs:
    """The runs below a folder: status, list, timer."""
    try:
        runs = find_training_runs(Path(root.strip() or "runs").expanduser())
    except TrainingError as error:
        return render.status("error", str(error)), gr.Dropdown(choices=[], value=None)
    choices = [(str(run.relative_to(runs[0].parent) if run.is_relative_to(runs[0].parent) else run),
                str(run)) for run in runs]  # fmt: skip
    return render.status("ok", f"{len(runs)} runs"), gr.Dropdown(
        choices=choices, value=str(runs[0])
    )


def show(folder: str | None, chosen: str | None = None) -> Outputs:
    """A run's curves and facts: status, losses by `KINDS`, figures, speed, configuration,
    snapshots."""
    if not folder:
        return tuple(gr.skip() for _ in range(_SHOWN))
    try:
        run = read_run(Path(folder))
    except TrainingError as error:
        return render.status("error", str(error)), *(gr.skip() for _ in range(_SHOWN - 1))
    steps = [(f"step {int(file.stem.split('-')[1]):,}", str(file)) for file in run.snapshots]
    choices = [("the latest checkpoint", _LATEST), *reversed(steps)] if steps else []
    keep = chosen if chosen in [value for _, value in choices] else (_LATEST if steps else None)
    return (
        told(run), *(_plot(_losses_of(run, kind)) for kind in KINDS), _plot(run.figures),
        _plot(run.speed), run.config,
        gr.Dropdown(choices=choices, value=keep),
    )  # fmt: skip


def link(folder: str | None, chosen: str | None) -> str:
    """The query of a link to a run and one of its snapshots."""
    if not folder:
        raise gr.Error("Nothing to link to yet: choose a run.", print_exception=False)
    return Link("train", settings={"run": folder, "snapshot": chosen or ""}).query()


def follow(asked: Link) -> Outputs:
    """The tab as a link describes it: the run, what `show` gives, the pictures."""
    folder, chosen = (str(asked.settings.get(name, "")) for name in ("run", "snapshot"))
    run = gr.Dropdown(choices=[folder], value=folder)
    return (run, *show(folder, chosen), alignments(folder, chosen))


def told(run: TrainingRun) -> str:
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


def alignments(folder: str | None, chosen: str | None) -> str:
    """The alignments of a snapshot as pictures; every word is escaped."""
    if not folder or not chosen:
        return ""
    try:
        kept = read_run(Path(folder)).snapshots
        snapshot = read_snapshot(next((f for f in kept if str(f) == chosen), kept[-1]))
        head = f'<p class="label">step {int(snapshot["step"]):,}</p>'
        return head + gallery(map(_card, snapshot["photos"]))
    except (TrainingError, IndexError, KeyError, TypeError, ValueError) as error:
        return render.status("error", f"the snapshot cannot be shown: {error}")


def _card(told: dict[str, Any]) -> str:
    width, height = (int(side) for side in told["size"])
    found = []
    for phrase in told["phrases"]:
        x1, y1, x2, y2 = (float(v) for v in phrase["box"])
        found.append(Found(str(phrase["text"]), float(phrase["evidence"]), (x1, y1, x2, y2)))
    picture = thumbnail(DEMO / Path(str(told["photo"])).name)
    note = f"similarity {float(told['similarity']):.3f}"
    return card(str(told["caption"]), note, picture, (width, height), found)


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


def build() -> Followed:
    """Lay the tab out inside the current gr.Blocks."""
    with gr.Row(equal_height=True):
        root = gr.Textbox(
            label="Folder of runs on this machine", placeholder="runs", max_lines=1,
            elem_id="train-root",
        )  # fmt: skip
        run = gr.Dropdown([], label="Run", elem_id="train-run", allow_custom_value=True)
        live = gr.Checkbox(True, label="Refresh every 10 s", elem_id="train-live")
    button = gr.Button("Show the runs", variant="primary", elem_id="train-find")
    status = gr.HTML(
        render.status("idle", "Curves, figures and alignments of training runs, as they go on."),
        elem_id="train-status",
    )
    axes: dict[str, Any] = {
        "x": "step", "y": "value", "color": "series", "height": 260, "color_title": "",
        "y_title": " ", "x_title": " ", "visible": False,
    }  # fmt: skip
    with gr.Row():
        losses = [
            gr.LinePlot(title=f"Losses of {name}", elem_id=f"train-{kind}", min_width=300, **axes)
            for kind, name in KINDS.items()
        ]
    with gr.Row():
        figures = gr.LinePlot(title="Zero-shot, %", elem_id="train-ap", **axes)
        speed = gr.LinePlot(title="Throughput", elem_id="train-speed", **axes)
    with gr.Row():
        snapshot = gr.Dropdown([], label="Alignments at", elem_id="train-snapshot", scale=4)
        copy = gr.Button("Copy link", elem_id="train-link", scale=1)
    pictures = gr.HTML(elem_id="train-pictures", apply_default_css=False)
    with gr.Accordion("Configuration", open=False, elem_id="train-config"):
        config = gr.JSON(show_label=False)
    with gr.Accordion("Start a run", open=True):
        gr.Code(COMMAND, language="shell", interactive=False, show_label=False)
    timer = gr.Timer(10)

    shown = [status, *losses, figures, speed, config, snapshot]
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    looked = ([run, snapshot], pictures)
    gr.on([button.click, root.submit], find, root, [status, run], **quiet).then(
        show, run, shown, **quiet
    ).then(alignments, *looked, **quiet)
    run.input(show, run, shown, **quiet).then(alignments, *looked, **quiet)
    snapshot.input(alignments, *looked, **quiet)
    timer.tick(
        lambda folder, chosen, on: show(folder if on else None, chosen), [run, snapshot, live],
        shown, **quiet,
    ).then(alignments, *looked, **quiet)  # fmt: skip
    copies_link(copy.click, link, [run, snapshot])
    return Followed("train", follow, [run, *shown, pictures])
