"""The Batch tab's layout and wiring."""

from __future__ import annotations

import gradio as gr

from app.engine import Engine
from app.runs.video import EVERY
from app.ui.batch.actions import BatchActions
from app.ui.batch.export import FORMAT_NAMES
from app.ui.batch.review import HINT, Review, ReviewOutputs
from app.ui.shared import html as render
from app.ui.shared import vocabulary_chips
from app.ui.shared.access import Access
from app.ui.shared.events import LONG, MODEL, PRIVATE, SERVER
from app.ui.shared.looks import looks_choice
from app.ui.shared.photo import cache_folder
from app.ui.shared.project_picker import listed, picker
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import stoppable
from app.ui.shared.tiles import tiles_choice
from detclipv2.serving import FLOOR


def build(
    engine: Engine, runs: RunFolders, access: Access, connection: gr.State, tab: gr.Tab
) -> None:
    """Lay the tab out inside the current gr.Blocks; `connection` is Label Studio's, if any."""
    actions = BatchActions(engine, runs, access, cache_folder() / "exports")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=340):
            files = gr.File(
                label="Photos, videos or .zip archives",
                file_count="multiple",
                type="filepath",
                elem_id="batch-files",
                height=140,
            )
            places = gr.Textbox(
                value="",
                label="… or where they are",
                lines=2,
                max_lines=8,
                elem_id="batch-places",
                placeholder="/home/me/photos\n/home/me/**/*.jpg\nhttps://images.example/1.jpg",
                info="Folders, patterns, archives, videos, addresses or lists of them; one a line.",
            )
            every = gr.Number(
                EVERY,
                label="Seconds between the frames of a video",
                elem_id="batch-every",
                minimum=0.01,
                step=0.5,
            )
            with gr.Accordion("… or a Label Studio project", open=False):
                project = picker("batch-project")
                unlabelled = gr.Checkbox(label="Only tasks without labels", value=True)
            with gr.Accordion("Hosts that addresses may name", open=False):
                hosts = gr.Textbox(
                    value="",
                    label="Hosts",
                    placeholder="images.example, localhost:8000",
                    info="Nothing is fetched from any other.",
                )
        with gr.Column(scale=2, min_width=340):
            prompts = gr.Textbox(
                value="",
                label="What to look for",
                lines=4,
                max_lines=12,
                elem_id="batch-prompts",
                placeholder="cat, a red mug\ncup: mug, tumbler @0.35\n!shadow",
            )
            vocabulary_chips.build(prompts, "batch-prompts", engine.vocabulary)
            threshold = gr.Slider(
                FLOOR,
                1,
                engine.list_defaults.threshold,
                step=0.01,
                label="Threshold",
                elem_id="batch-threshold",
                info="Lower boxes are kept, so it can change later.",
            )
            looks = looks_choice(engine, "batch-looks")
            tiles = tiles_choice("batch-tiles")
            name = gr.Textbox(
                value="", label="Name of the run (optional)", elem_id="batch-name", max_lines=1
            )
            with gr.Row():
                measure = gr.Button("Estimate", elem_id="batch-estimate", min_width=90)
                stop = gr.Button("Stop", elem_id="batch-stop", min_width=70, visible=False)
                start = gr.Button("Start", variant="primary", elem_id="batch-start")
            form_status = gr.HTML(
                render.status("idle", "Name photos and words, then start."),
                elem_id="batch-said",
                elem_classes="plain",
            )
    gr.Markdown("### Runs")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=340):
            chosen = gr.Dropdown(choices=[], label="Run", elem_id="batch-run", interactive=True)
            with gr.Row():
                pause = gr.Button("Pause", elem_id="batch-pause", min_width=70)
                resume = gr.Button("Go on", elem_id="batch-resume", min_width=70)
                cancel = gr.Button("Cancel", elem_id="batch-cancel", min_width=70)
            retry = gr.Checkbox(label="Try failed photos again", value=False)
            status = gr.HTML(
                render.status("idle", "No run is chosen yet."),
                elem_id="batch-status",
                elem_classes="plain",
            )
            shown_from = gr.Slider(
                0,
                1,
                engine.list_defaults.threshold,
                step=0.01,
                label="Another threshold for this run",
                elem_id="batch-shown",
                info="The photo follows at once, the run with Apply or Export. A class's own @ goes"
                " first.",
            )
            apply = gr.Button("Apply", elem_id="batch-apply")
            applied = gr.HTML("", elem_id="batch-applied", elem_classes="plain")
            with gr.Row():
                kind = gr.Dropdown(
                    list(FORMAT_NAMES),
                    value="COCO",
                    label="Format",
                    elem_id="batch-format",
                    min_width=120,
                )
                make = gr.Button("Export", elem_id="batch-export", min_width=90)
                give_up = gr.Button(
                    "Stop", elem_id="batch-export-stop", min_width=70, visible=False
                )
            file = gr.File(
                label="Export", interactive=False, elem_id="batch-file", visible=False, height=90
            )
        with gr.Column(scale=3, min_width=340):
            table = gr.Dataframe(
                headers=["photo", "state", "boxes", "why"],
                datatype=("str", "str", "number", "str"),
                type="array",
                interactive=False,
                elem_id="batch-rows",
                max_height=360,
                label="Photos of the run (failed ones first, at most 200)",
                row_count=1,
                column_count=4,
                buttons=[],
                wrap=True,
            )
            with gr.Row():
                earlier = gr.Button("◀ Previous", elem_id="batch-previous", min_width=90)
                later = gr.Button("Next ▶", elem_id="batch-next", min_width=90)
            seen = gr.HTML(render.status("idle", HINT), elem_id="batch-seen", elem_classes="plain")
            photo = gr.State(None)
            shown_photo = gr.Image(
                label="Photo",
                show_label=False,
                interactive=False,
                visible=False,
                elem_id="batch-photo",
                buttons=["fullscreen"],
            )
    form = [files, places, every, project, unlabelled, hosts, prompts, tiles, looks]
    stoppable(
        actions.stops,
        measure.click,
        actions.estimate,
        [*form, connection],
        form_status,
        button=stop,
        **MODEL,
        **PRIVATE,
    )
    stoppable(
        actions.stops,
        start.click,
        actions.start,
        [*form, threshold, name, connection],
        [chosen, form_status],
        button=stop,
        show_progress_on=[form_status],
        **SERVER,
        **PRIVATE,
    )
    stop.click(actions.stops.end, None, form_status, show_progress="hidden", **PRIVATE)
    pause.click(actions.pause, chosen, status, **PRIVATE)
    resume.click(actions.resume, [chosen, hosts, retry, connection], status, **PRIVATE)
    cancel.click(actions.cancel, chosen, status, **PRIVATE)
    stoppable(
        actions.export_stops,
        make.click,
        actions.export,
        [chosen, shown_from, kind, connection],
        [file, applied],
        button=give_up,
        show_progress_on=[applied],
        **LONG,
        **PRIVATE,
    )
    give_up.click(actions.export_stops.end, None, status, show_progress="hidden", **PRIVATE)
    shown = [chosen, status, table]
    tab.select(listed, [connection, project], project, show_progress="hidden", **SERVER, **PRIVATE)
    tab.select(actions.refresh, chosen, shown, show_progress="hidden", **PRIVATE)
    chosen.input(actions.refresh, chosen, shown, show_progress="hidden", **PRIVATE)
    gr.on(
        [chosen.change, tab.select],
        actions.threshold,
        chosen,
        shown_from,
        show_progress="hidden",
        **PRIVATE,
    )
    review = Review(runs, actions.reader)
    photo_outputs = list(ReviewOutputs(photo, shown_photo, seen))
    at = [shown_from, hosts, connection]
    table.select(review.choose, [chosen, *at], photo_outputs, **PRIVATE)
    earlier.click(review.back, [chosen, photo, *at], photo_outputs, **PRIVATE)
    later.click(review.on, [chosen, photo, *at], photo_outputs, **PRIVATE)
    gr.on(
        [chosen.change, shown_from.change],
        review.show,
        [chosen, photo, *at],
        photo_outputs,
        show_progress="hidden",
        trigger_mode="always_last",
        **PRIVATE,
    )
    apply.click(actions.apply, [chosen, shown_from], applied, **PRIVATE)
    gr.Timer(1.5).tick(actions.tick, chosen, [status, table], show_progress="hidden", **PRIVATE)
