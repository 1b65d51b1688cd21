"""The Label Studio tab's layout and wiring."""

from __future__ import annotations

import os

import gradio as gr

from app.labelstudio.api.connection import URL_VARIABLES
from app.labelstudio.api.environment import DOCUMENT_ROOT
from app.ui.labelstudio.actions import BY_LABELERS, UPLOAD, LabelStudioActions
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import PRIVATE, SERVER
from app.ui.shared.project_picker import picker
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import stoppable


def build(runs: RunFolders, access: Access, connection: gr.State, tab: gr.Tab) -> None:
    """Lay the tab out inside the current gr.Blocks; it sets `connection`."""
    actions = LabelStudioActions(runs, access)
    made = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=340):
            gr.Markdown("### 1 · Connect")
            url = gr.Textbox(
                label="Address",
                elem_id="ls-url",
                max_lines=1,
                value=next((os.environ[n] for n in URL_VARIABLES if os.environ.get(n)), ""),
                placeholder="http://localhost:8080",
            )
            key = gr.Textbox(
                value="",
                label="Key",
                type="password",
                elem_id="ls-key",
                max_lines=1,
                info="From Account & Settings, of either kind; empty: from the environment.",
            )
            connect = gr.Button("Connect", elem_id="ls-connect")
            who = gr.HTML(
                render.status("idle", "Not connected."), elem_id="ls-who", elem_classes="plain"
            )
            gr.Markdown("### 2 · Run and project")
            run = gr.Dropdown(choices=[], label="Run", elem_id="ls-run", interactive=True)
            project = picker("ls-project")
            with gr.Accordion("No project or no tasks yet?", open=False, elem_id="ls-make"):
                title = gr.Textbox(
                    value="", label="Title of a new project", max_lines=1, elem_id="ls-title"
                )
                new = gr.Button("Make a project from the run's classes", elem_id="ls-new")
                how = gr.Radio(
                    [UPLOAD, "Refer to local files"],
                    value=UPLOAD,
                    label="Tasks for the run's photos",
                    elem_id="ls-how",
                )
                tasks = gr.Button("Make tasks", elem_id="ls-tasks")
            root = gr.Textbox(
                label="Label Studio's document root (only for local files)",
                elem_id="ls-root",
                value=os.environ.get(DOCUMENT_ROOT, ""),
                max_lines=1,
            )
        with gr.Column(scale=3, min_width=340):
            gr.Markdown("### 3 · Check, dry run, push")
            with gr.Row():
                check = gr.Button("Check five images", elem_id="ls-check", min_width=160)
                dry = gr.Button("Dry run", elem_id="ls-dry", min_width=100)
                go = gr.Button(
                    "Push", variant="primary", elem_id="ls-push", interactive=False, min_width=100
                )
                stop = gr.Button("Stop", elem_id="ls-stop", min_width=70, visible=False)
            replace = gr.Checkbox(
                label="Delete predictions of older prompts once the new ones are there",
                value=False,
                elem_id="ls-replace",
            )
            status = gr.HTML(
                render.status("idle", "A dry run shows what a push would do, and writes nothing."),
                elem_id="ls-status",
                elem_classes="plain",
            )
            mapping = gr.Dataframe(
                headers=["class", "label", "found by"],
                type="array",
                interactive=False,
                visible=False,
                elem_id="ls-map",
                label="Where classes go",
                row_count=1,
                column_count=3,
                buttons=[],
                max_height=260,
            )
            missing = gr.Code(
                language="html",
                label="Labels to add to the project's configuration",
                visible=False,
                elem_id="ls-missing",
                interactive=False,
            )
            add = gr.Button(
                "Add missing labels to the project", elem_id="ls-add", size="sm", visible=False
            )
            images = gr.Dataframe(
                headers=["task", "address", "kind", "file", "status"],
                type="array",
                interactive=False,
                visible=False,
                elem_id="ls-images",
                label="Images",
                row_count=1,
                column_count=5,
                buttons=[],
                wrap=True,
                max_height=300,
                column_widths=["10%", "34%", "12%", "20%", "24%"],
            )
            with gr.Accordion("Which task first?", open=False):
                by = gr.Radio(
                    ["scores near the threshold", BY_LABELERS],
                    value="scores near the threshold",
                    label="Rank tasks by",
                )
                rank = gr.Button("Write the order", elem_id="ls-queue")
    signed = [connection, key, who, project]
    connect.click(actions.connect, [url, key, project], signed, **SERVER, **PRIVATE)
    key.submit(actions.connect, [url, key, project], signed, **SERVER, **PRIVATE)
    stoppable(
        actions.stops,
        check.click,
        actions.check,
        [connection, project, root],
        [status, images],
        button=stop,
        show_progress_on=[status],
        **SERVER,
        **PRIVATE,
    )
    new.click(
        actions.make_project, [connection, run, title], [project, status], **SERVER, **PRIVATE
    )
    stoppable(
        actions.stops,
        tasks.click,
        actions.make_tasks,
        [connection, run, project, root, how],
        status,
        button=stop,
        show_progress_on=[status],
        **SERVER,
        **PRIVATE,
    )
    stoppable(
        actions.stops,
        dry.click,
        actions.dry_run,
        [connection, run, project, root, replace],
        [made, status, mapping, missing, add, go],
        button=stop,
        show_progress_on=[status],
        **SERVER,
        **PRIVATE,
    )
    add.click(actions.add_labels, [connection, made], status, **SERVER, **PRIVATE)
    stoppable(
        actions.stops,
        go.click,
        actions.push,
        [connection, made],
        [made, status, go],
        button=stop,
        show_progress_on=[status],
        **SERVER,
        **PRIVATE,
    )
    stop.click(actions.stops.end, None, status, show_progress="hidden", **PRIVATE)
    stoppable(
        actions.stops,
        rank.click,
        actions.queue,
        [connection, run, project, by],
        status,
        button=stop,
        **SERVER,
        **PRIVATE,
    )
    # what the dry run showed must be what the push does, and where
    gr.on(
        [connect.click, key.submit, *(one.change for one in (run, project, replace, root))],
        lambda: (None, gr.Button(interactive=False)),
        None,
        [made, go],
        show_progress="hidden",
        **PRIVATE,
    )
    tab.select(runs.listed, run, run, show_progress="hidden", **PRIVATE)
