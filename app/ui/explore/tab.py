"""The Explore tab: one run, and five ways to work with what its index holds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.engine import Engine
from app.ui.explore import ask_part, discovery_part, duplicates_part, like_part, review_part
from app.ui.explore.endpoints import Endpoints
from app.ui.explore.indexed_runs import IndexedRuns, other_model
from app.ui.shared import api as answers
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import LONG, PRIVATE
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.trouble import Trouble

_MOST_NAMED = 12


def build(
    engine: Engine, runs: RunFolders, access: Access, connection: gr.State, tab: gr.Tab
) -> None:
    """Lay the tab out inside the current gr.Blocks; `connection` is Label Studio's, if any."""
    indexed = IndexedRuns(engine, runs, access)
    with gr.Row(equal_height=False):
        run = gr.Dropdown(
            choices=[],
            label="Run",
            elem_id="explore-run",
            interactive=True,
            scale=2,
            min_width=300,
            info="Begun in the Batch tab or by detclipv2 detect.",
        )
        with gr.Column(scale=3, min_width=300):
            status = gr.HTML(
                render.status("idle", "Choose a run."),
                elem_id="explore-status",
                elem_classes="plain",
            )
    # first, so that no handler of the page takes its name
    gr.Button(visible=False).click(
        Endpoints(indexed).ask,
        [gr.Textbox(visible=False), gr.Textbox(visible=False), gr.Number(visible=False)],
        answers.answer(answers.Detected, "detections (COCO)"),
        api_name="ask",
        **LONG,
    )
    with gr.Tabs(elem_id="explore-parts", overflow_behavior="wrap") as parts:
        with gr.Tab("Ask", id="ask"):
            ask = ask_part.build(indexed, engine, run, connection)
        with gr.Tab("More like this", id="like") as like_tab:
            like = gr.Column()
        with gr.Tab("Near-duplicates", id="duplicates"):
            groups = duplicates_part.build(indexed, run, connection)
        with gr.Tab("Discovery", id="discovery"):
            names = discovery_part.build(indexed, run, connection, ask.prompts, parts)
        with gr.Tab("Learn", id="learn"):
            review_part.build(indexed, run, connection)
    with like:
        like_part.build(indexed, run, connection, [ask.gallery, groups, names], parts, like_tab)

    def describe(name: str | None, visitor: gr.Request) -> str:
        if not name:
            return render.status("idle", "No run yet; begin one in the Batch tab.")
        opened = indexed.open(name, visitor)
        if isinstance(opened, Trouble):
            return render.status("error", opened.message)
        photos, total = len(opened.photos), opened.run.counts().total
        words = f"{opened.name}: {photos:,} of {total:,} photos are indexed"
        if trouble := other_model(opened, engine):
            return render.status("hint", words, [trouble.message])
        names = opened.run.view.vocabulary.names
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        return render.status("ok", words, [f"it looks for {', '.join(names[:_MOST_NAMED])}{more}"])

    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    tab.select(runs.listed, run, run, **quiet).then(describe, run, status, **quiet)
    run.input(describe, run, status, **quiet)
