"""The Calibrate tab's layout and wiring."""

from __future__ import annotations

import gradio as gr

from app.ui.calibrate.actions import CalibrateActions
from app.ui.shared import html as render
from app.ui.shared.events import PRIVATE, SERVER
from app.ui.shared.project_picker import listed, picker
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import stoppable


def build(runs: RunFolders, connection: gr.State, tab: gr.Tab) -> None:
    """Lay the tab out inside the current gr.Blocks."""
    actions = CalibrateActions(runs)
    proposals = gr.State(None)
    gr.Markdown(
        "Thresholds from what labelers kept, moved and deleted. Only boxes that were shown can be "
        "judged, so a threshold is never proposed below the one they were pushed with."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=340):
            project = picker("cal-project")
            precision = gr.Slider(
                0.5,
                0.99,
                0.8,
                step=0.01,
                label="Wanted precision",
                elem_id="cal-precision",
                info="The lower end of the interval has to reach it.",
            )
            with gr.Row():
                fetch = gr.Button("Fetch labels", variant="primary", elem_id="cal-fetch")
                stop = gr.Button("Stop", elem_id="cal-stop", min_width=70, visible=False)
            status = gr.HTML(
                render.status("idle", "Nothing fetched yet."),
                elem_id="cal-status",
                elem_classes="plain",
            )
            run = gr.Dropdown(choices=[], label="Run", elem_id="cal-run", interactive=True)
            apply = gr.Button("Apply to the run, without the model", elem_id="cal-apply")
            applied = gr.HTML("", elem_id="cal-applied", elem_classes="plain")
        with gr.Column(scale=3, min_width=340):
            table = gr.Dataframe(
                headers=["label", "threshold", "judged", "missed", "why"],
                type="array",
                interactive=False,
                visible=False,
                elem_id="cal-table",
                label="Proposals",
                row_count=1,
                column_count=5,
                buttons=[],
                wrap=True,
                max_height=300,
                column_widths=["20%", "16%", "13%", "13%", "38%"],
            )
            plots = gr.HTML("", elem_id="cal-plots", elem_classes="plain")
    stoppable(
        actions.stops,
        fetch.click,
        actions.calibrate,
        [connection, project, precision],
        [proposals, status, table, plots],
        button=stop,
        show_progress_on=[status],
        **SERVER,
        **PRIVATE,
    )
    stop.click(actions.stops.end, None, status, show_progress="hidden", **PRIVATE)
    apply.click(actions.apply, [proposals, run, connection, project], applied, **SERVER, **PRIVATE)
    tab.select(runs.listed, run, run, show_progress="hidden", **PRIVATE)
    tab.select(listed, [connection, project], project, show_progress="hidden", **SERVER, **PRIVATE)
