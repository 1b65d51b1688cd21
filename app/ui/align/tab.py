"""The Align tab: a photo, a caption, and which words found which regions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.engine import Engine
from app.ui.align.actions import AlignActions, AlignOutputs
from app.ui.align.endpoints import Endpoints
from app.ui.align.find import AlignSession
from app.ui.shared import api as answers
from app.ui.shared import html as render
from app.ui.shared.api import answer
from app.ui.shared.events import MODEL, PRIVATE
from app.ui.shared.links import Followed, copies_link
from app.ui.shared.photo import Photo
from detclipv2.assets import CAPTIONS
from detclipv2.inference.alignment import AlignSettings
from detclipv2.learning.proposals import OBJECTNESS

RANKINGS = {
    "text_batch": "likeness to any phrase, also of others (the paper's)",
    "text_sample": "likeness to this caption's phrases",
    "text_batch_centerness": "likeness to any phrase × centerness",
    "centerness": "centerness",
    "iou": "IoU branch",
    "foreground": "foreground branch",
}
"""The six selection scores of Table 2a in words."""

_HERE = Path(__file__).parent


def inspector(elem_id: str) -> gr.HTML:
    """The linked views, drawn in the page from `app.ui.align.payload.view`'s JSON."""
    code = "".join(
        (_HERE / name).read_text(encoding="utf-8") for name in ("figure.js", "matrix.js", "view.js")
    )
    return gr.HTML(
        value=None,
        html_template='<div class="inspector"></div>',
        js_on_load=code,
        css_template=(_HERE / "view.css").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=elem_id,
        padding=False,
    )


@dataclass(frozen=True, eq=False)
class AlignParts:
    """What other tabs need to open a photo here: put it and its caption in, then `run`."""

    photo: Photo
    caption: gr.Textbox
    run: Any
    inputs: list[Any]
    shown: list[Any]
    followed: Followed


def build(engine: Engine) -> AlignParts:
    """Lay the tab out inside the current gr.Blocks and connect it to `engine`."""
    defaults = AlignSettings()
    config = engine.predictor.model.config
    usable = [k for k in OBJECTNESS if config.quality or k not in ("iou", "foreground")]
    session = gr.State(AlignSession())
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = Photo(
                label="Photo",
                type="filepath",
                sources=["upload", "clipboard"],
                elem_id="align-photo",
                elem_classes="small-photo photo-panel",
                show_label=False,
                buttons=[],
                placeholder="Drop a photo here\nor click to choose",
                alt_text="The photo to align",
            )
        with gr.Column(scale=3, min_width=320):
            caption = gr.Textbox(
                label="Caption",
                lines=2,
                max_lines=5,
                elem_id="align-caption",
                placeholder="A red mug beside a kettle on the table",
                submit_btn=False,
            )
            with gr.Row(elem_classes="sample-row"):
                samples = [
                    gr.Button(
                        _short(text),
                        elem_id=f"align-sample-{index}",
                        min_width=60,
                        elem_classes=f"sample photo-{index}",
                    )
                    for index, (_, text) in enumerate(CAPTIONS)
                ]
            button = gr.Button("Align", variant="primary", elem_id="align")
            status = gr.HTML(
                render.status("idle", "Give a photo and a caption; see which words found what."),
                elem_id="align-status",
            )
            with gr.Accordion("How words and regions are compared", open=False):
                matching = gr.Radio(
                    [("best region (Eq. 3)", "max"), ("all regions, softly (Eq. 4)", "softmax")],
                    value=defaults.matching,
                    label="Match of a phrase",
                    elem_id="align-matching",
                )
                temperature = gr.Slider(
                    0.01,
                    2,
                    defaults.temperature,
                    step=0.01,
                    label="τₜ of Eq. 4",
                    info="Small: like the best region. Large: the mean of all.",
                    elem_id="align-temperature",
                )
                ranking = gr.Dropdown(
                    [(RANKINGS[kind], kind) for kind in usable],
                    value=defaults.objectness,
                    label="Regions are chosen by (Table 2a)",
                    elem_id="align-ranking",
                    info=None if config.quality else "This model has no IoU or foreground branch.",
                )
                regions = gr.Slider(
                    1, 300, defaults.regions, step=1, label="Regions", elem_id="align-regions"
                )
    view = inspector("inspector")

    actions = AlignActions(engine)
    settings = [matching, temperature, ranking, regions]
    shown = list(AlignOutputs(status=status, view=view, session=session))
    # first, so that no handler of the page takes its name
    _api(Endpoints(engine), photo, caption, settings)
    gr.on(
        [button.click, caption.submit],
        actions.align,
        [photo, caption, session, *settings],
        shown,
        show_progress_on=[status],
        **MODEL,
        **PRIVATE,
    )
    gr.on(
        [matching.input, temperature.release, ranking.input, regions.release],
        actions.again,
        [session, *settings],
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        **MODEL,
        **PRIVATE,
    )
    view.phrases(
        actions.edit,
        [session, *settings],
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        **MODEL,
        **PRIVATE,
    )
    copies_link(view.link, actions.link, [session, *settings])
    for index, sample in enumerate(samples):
        sample.click(
            partial(actions.pick_sample, index),
            settings,
            [photo, caption, *shown],
            show_progress_on=[status],
            **MODEL,
            **PRIVATE,
        )
    inputs = [photo, caption, session, *settings]
    followed = Followed("align", actions.follow, [photo, caption, *settings, *shown])
    return AlignParts(photo, caption, actions.align, inputs, shown, followed)


def _api(endpoints: Endpoints, photo: Photo, caption: gr.Textbox, settings: list[Any]) -> None:
    """The endpoint /align for gradio_client."""
    phrases = gr.Textbox("", label="phrases", visible=False)
    whole = gr.Checkbox(True, label="whole", visible=False)
    output = answer(answers.Aligned, "alignment")
    gr.Button(visible=False).click(
        endpoints.align,
        [photo, caption, phrases, whole, *settings],
        output,
        api_name="align",
        **MODEL,
    )


def _short(text: str) -> str:
    words = text.split()
    return " ".join(words[:5]) + ("…" if len(words) > 5 else "")
