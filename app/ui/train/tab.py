"""The Train tab: runs of train/ as they go on; starting one stays with the command line."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import PRIVATE
from app.ui.shared.links import Followed, copies_link
from app.ui.train.actions import KINDS, RunOutputs, TrainActions

COMMAND = """\
python -m train.pretrain nano:boxes root=DATA out=runs/mine      # again: goes on where it was
python -m train.pretrain nano:joint --plan root=DATA             # what it would cost
python -m train.pretrain nano:joint --smoke root=DATA out=runs/try"""


def build(access: Access) -> Followed:
    """Lay the tab out inside the current gr.Blocks."""
    with gr.Row(equal_height=True):
        root = gr.Textbox(
            label="Folder of runs on this machine",
            placeholder="runs",
            max_lines=1,
            elem_id="train-root",
            min_width=280,
        )
        run = gr.Dropdown(
            [], label="Run", elem_id="train-run", allow_custom_value=True, min_width=280
        )
        live = gr.Checkbox(True, label="Refresh every 10 s", elem_id="train-live")
    button = gr.Button("Show the runs", variant="primary", elem_id="train-find")
    status = gr.HTML(
        render.status("idle", "Curves, figures and alignments of training runs, as they go on."),
        elem_id="train-status",
    )
    axes: dict[str, Any] = {
        "x": "step",
        "y": "value",
        "color": "series",
        "height": 260,
        "color_title": "",
        "y_title": " ",
        "x_title": " ",
        "visible": False,
    }
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

    actions = TrainActions(access)
    boxes, grounding, pairs = losses  # by `KINDS`
    shown = list(RunOutputs(status, boxes, grounding, pairs, figures, speed, config, snapshot))
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    pictures_of_run = ([run, snapshot], pictures)
    gr.on([button.click, root.submit], actions.find, root, [status, run], **quiet).then(
        actions.show, [run, snapshot], shown, **quiet
    ).then(actions.alignments, *pictures_of_run, **quiet)
    run.input(actions.show, [run, snapshot], shown, **quiet).then(
        actions.alignments, *pictures_of_run, **quiet
    )
    snapshot.input(actions.alignments, *pictures_of_run, **quiet)
    gr.on(timer.tick, actions.show, [run, snapshot], shown, **quiet).then(
        actions.alignments, *pictures_of_run, **quiet
    )
    live.input(lambda on: gr.Timer(active=on), live, timer, **quiet)
    copies_link(copy.click, actions.link, [run, snapshot])
    return Followed("train", actions.follow, [run, *shown, pictures])
