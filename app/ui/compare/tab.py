"""The Compare tab: two vocabularies, templates, checkpoints or looks, on photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.engine import Engine
from app.ui.compare.actions import CompareActions, CompareOutputs
from app.ui.compare.endpoints import Endpoints
from app.ui.compare.find import Detectors
from app.ui.compare.table import HEADERS, Compared
from app.ui.shared import api as answers
from app.ui.shared import html as render
from app.ui.shared import vocabulary_chips, vocabulary_editor
from app.ui.shared.access import Access
from app.ui.shared.api import answer
from app.ui.shared.events import LONG, MODEL, PRIVATE
from app.ui.shared.links import Followed, copies_link
from app.ui.shared.looks import looks_choice
from app.ui.shared.photo import DEMO, Photo
from detclipv2.serving import DEFAULTS

_EXAMPLE = ("astronaut.jpg", "person, orange suit", "people, orange suit, face", DEFAULTS.threshold)


def build(engine: Engine, access: Access, folder: Path) -> Followed:
    """Lay the tab out inside the current gr.Blocks; vocabularies are saved below `folder`."""
    compared = gr.State(Compared())
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            photo = Photo(
                label="Photo",
                type="filepath",
                sources=["upload", "clipboard"],
                elem_id="compare-photo",
                elem_classes="small-photo photo-panel",
                show_label=False,
                buttons=[],
                alt_text="The photo to compare on",
                placeholder="Drop a photo here\nor click to choose",
            )
            place = gr.Textbox(
                label="… or a folder on this machine",
                elem_id="compare-folder",
                max_lines=1,
                placeholder="/home/me/photos",
            )
            threshold = gr.Slider(
                0, 1, DEFAULTS.threshold, step=0.01, label="Threshold", elem_id="compare-threshold"
            )
        words, templates, models, looks = [], [], [], []
        for side, hint in (("a", "cup, table"), ("b", "Empty: the words of A")):
            with gr.Column(scale=1, min_width=280):
                words.append(
                    gr.Textbox(
                        label=f"{side.upper()}: what to look for",
                        lines=4,
                        max_lines=10,
                        placeholder=hint,
                        elem_id=f"compare-words-{side}",
                    )
                )
                vocabulary_chips.build(words[-1], f"compare-words-{side}", engine.vocabulary)
                with gr.Accordion("Template, model and looks", open=False):
                    templates.append(
                        gr.Textbox(
                            "",
                            label="Sentence round the words",
                            max_lines=1,
                            placeholder=engine.predictor.model.config.text.template,
                            elem_id=f"compare-template-{side}",
                        )
                    )
                    models.append(
                        gr.Textbox(
                            "",
                            label="Checkpoint folder or name",
                            max_lines=1,
                            placeholder=engine.name,
                            elem_id=f"compare-model-{side}",
                            info="Ours, or a transformers zero-shot detector's folder.",
                        )
                    )
                    looks.append(looks_choice(engine, f"compare-looks-{side}"))
    with gr.Row(equal_height=False):  # below, since a table needs more than a third of the page
        for side, text in zip("ab", words, strict=True):
            with gr.Column(min_width=320):
                vocabulary_editor.build(text, f"compare-{side}", folder, f"{side.upper()}: ")
    with gr.Row():
        button = gr.Button("Compare", variant="primary", elem_id="compare", scale=3)
        cancel = gr.Button("Cancel", elem_id="compare-cancel", scale=1, min_width=90)
        sample = gr.Button("Try the sample", elem_id="compare-sample", scale=1, min_width=90)
        link = gr.Button("Copy link", elem_id="compare-link", scale=1, min_width=90)
    status = gr.HTML(
        render.status(
            "idle", "See what other words, another template, checkpoint or fewer looks change."
        ),
        elem_id="compare-status",
    )
    with gr.Row(equal_height=False, elem_id="compare-results"):
        shown = gr.HTML(elem_id="compare-picture", min_height=60, min_width=320)
        table = gr.Dataframe(
            headers=list(HEADERS),
            type="array",
            interactive=False,
            elem_id="compare-table",
            datatype=("str", "str", "str", "number", "str", "number", "number"),
            max_height=460,
            label="Changes (click a row to see its photo)",
            column_count=7,
            buttons=["copy"],
        )

    detectors = Detectors(engine)
    actions = CompareActions(detectors, access)
    asked = [*words, *templates, *models, *looks, threshold]
    outputs = list(CompareOutputs(status, table, shown, compared))
    _api(Endpoints(detectors, access), photo, asked)
    everything = [photo, place, *asked]
    begin = gr.State(None)  # a link sets it, once the controls are as the link says
    how: dict[str, Any] = {"show_progress_on": [status], **LONG, **PRIVATE}
    running = [
        button.click(actions.run, everything, outputs, **how),
        begin.change(actions.run_linked, [begin, *everything], outputs, **how),
        sample.click(
            lambda: (str(DEMO / _EXAMPLE[0]), "", *_EXAMPLE[1:]),
            None,
            [photo, place, *words, threshold],
            **PRIVATE,
        ).then(actions.run, everything, outputs, **how),
    ]
    cancel.click(None, cancels=running, **PRIVATE).then(
        actions.cancelled, compared, outputs, **PRIVATE
    )
    copies_link(link.click, actions.link, [compared, *everything])
    table.select(actions.choose, compared, outputs, show_progress="hidden", **PRIVATE)
    return Followed("compare", actions.follow, [*everything, status, begin])


def _api(endpoints: Endpoints, photo: Photo, asked: list[Any]) -> None:
    """The endpoint /compare for gradio_client."""
    output = answer(answers.Compared, "changes")
    gr.Button(visible=False).click(
        endpoints.compare, [photo, *asked], output, api_name="compare", **MODEL
    )
