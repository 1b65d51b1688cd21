"""The Detect tab's layout and wiring. One panel shows the photo and, once found, its boxes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial

import gradio as gr
from gradio.events import api
from PIL import Image

from app.engine import Engine
from app.formats.drawing import encode
from app.ui.detect.actions import SAMPLES, Actions, DetectOutputs, Session
from app.ui.detect.drawings import Drawings
from app.ui.detect.endpoints import Endpoints
from app.ui.detect.find import DetectControls
from app.ui.shared import api as answers
from app.ui.shared import html as render
from app.ui.shared import vocabulary_chips, vocabulary_editor
from app.ui.shared.api import answer
from app.ui.shared.events import MODEL, PRIVATE
from app.ui.shared.links import Followed, copies_link
from app.ui.shared.looks import looks_choice
from app.ui.shared.photo import DEMO, Photo, cache_folder
from app.ui.shared.tiles import tiles_choice
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS

SYNTAX = """\
Separate classes with **commas** or **new lines**. Any words will do.

| write | to get |
|---|---|
| `cat, a red mug` | two classes |
| `cup: mug, tumbler` | one class *cup*, found by any of the three |
| `cup: mug, tumbler @0.35` | … with its own threshold |
| `!shadow` | a distractor: it competes for boxes and is never shown |
| `crane = machine that lifts loads` | a definition, read by the model behind the name |

Lists pasted from elsewhere are read as well: bullets, numbers, JSON, YAML, tables. What was read
stands below the box.

**Ctrl + Enter** detects.
"""


@dataclass(frozen=True, eq=False)
class DetectParts:
    """What the page and other tabs need of this one: its prompts, and how it follows a link."""

    prompts: gr.Textbox
    followed: Followed


def build(engine: Engine) -> DetectParts:
    """Lay the tab out inside the current gr.Blocks and connect it to `engine`."""
    session = gr.State(Session())
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=340):
            photo = Photo(
                label="Photo",
                type="filepath",
                sources=["upload", "clipboard"],
                elem_id="photo",
                elem_classes="photo-panel",
                show_label=False,
                buttons=["fullscreen"],
                placeholder="Drop a photo here\nor paste one, or click to choose",
                alt_text="The photo, with the boxes that were found",
            )
            gr.HTML('<p class="label">Samples: one click detects</p>', elem_id="samples-label")
            with gr.Row(elem_id="samples", elem_classes="sample-row"):
                samples = [
                    gr.Button(
                        _caption(prompts),
                        elem_id=f"sample-{index}",
                        elem_classes=f"sample photo-{index}",
                        min_width=60,
                    )
                    for index, (_, prompts) in enumerate(SAMPLES)
                ]
        with gr.Column(scale=2, min_width=340):
            prompts = gr.Textbox(
                label="What to look for",
                lines=4,
                max_lines=12,
                elem_id="prompts",
                placeholder="cat, a red mug\ncup: mug, tumbler @0.35\n!shadow",
            )
            vocabulary_chips.build(prompts, "prompts", engine.vocabulary)
            with gr.Accordion("How to write prompts", open=False):
                gr.Markdown(SYNTAX)
            folder = cache_folder()
            vocabulary_editor.build(prompts, "prompts", folder)
            button = gr.Button("Detect", variant="primary", elem_id="detect")
            status = gr.HTML(
                render.status("idle", "Upload, drop or paste a photo, or pick a sample."),
                elem_id="status",
            )
            threshold = gr.Slider(
                0,
                1,
                DEFAULTS.threshold,
                step=0.01,
                label="Threshold",
                elem_id="threshold",
                info="Boxes below this score are hidden; moving it does not run the model again.",
            )
            looks = looks_choice(engine, "looks")
            with gr.Accordion("Small things, overlap, number of boxes", open=False):
                tiles = tiles_choice("tiles")
                nms = gr.Slider(
                    0.05,
                    1,
                    DEFAULTS.nms_iou,
                    step=0.05,
                    label="NMS IoU",
                    elem_id="nms",
                    info="Of two boxes of one class that overlap more than this, the weaker goes.",
                )
                most = gr.Slider(
                    1, 300, DEFAULTS.max_boxes, step=1, label="Most boxes", elem_id="max-boxes"
                )
                one_name = gr.Checkbox(
                    engine.defaults.one_name,
                    label="One name per place",
                    info="Of boxes of different classes at one place the best stays.",
                    elem_id="one-name",
                )
                whole_things = gr.Checkbox(
                    engine.defaults.whole_things,
                    label="Whole things only",
                    info="Parts of a better box of their class are dropped, and boxes round it.",
                    elem_id="whole-things",
                )
            with gr.Column(visible=False, min_width=0) as per_class:
                classes = gr.Dataframe(
                    headers=render.CLASS_HEADERS,
                    datatype=("str", "number", "number", "number"),
                    type="array",
                    interactive=True,
                    static_columns=[0, 2, 3],
                    elem_id="classes",
                    label="Per class (type a threshold; empty: the slider's)",
                    row_count=1,
                    column_count=4,
                    max_height=260,
                    buttons=[],
                )
    with gr.Column(visible=False) as results:
        with gr.Row():
            json_button = gr.Button("Download COCO JSON", elem_id="get-json", size="md")
            png_button = gr.Button("Download picture (PNG)", elem_id="get-png", size="md")
            link_button = gr.Button("Copy link", elem_id="get-link", size="md")
            json_file = gr.DownloadButton(elem_id="file-json", elem_classes="hidden-part")
            png_file = gr.DownloadButton(elem_id="file-png", elem_classes="hidden-part")
        boxes = gr.Dataframe(
            headers=render.BOX_HEADERS,
            type="array",
            interactive=False,
            elem_id="boxes",
            datatype=("str", "number", "number", "number", "number", "number"),
            max_height=360,
            label="Boxes, in pixels of the original (⋮ in a header sorts and filters)",
            row_count=1,
            column_count=6,
            buttons=["copy"],
        )

    drawings = Drawings(folder)
    actions = Actions(engine, drawings)
    controls = DetectControls(threshold, nms, most, tiles, looks, one_name, whole_things)
    outputs = DetectOutputs(
        photo=photo,
        status=status,
        boxes=boxes,
        classes=classes,
        class_column=per_class,
        results=results,
        session=session,
        prompts=prompts,
    )
    shown = list(outputs)
    # first, so that no handler of the page takes their names
    _api(Endpoints(engine, drawings), photo, prompts, controls)
    gr.on(
        [button.click, prompts.submit],
        actions.detect,
        [photo, session, prompts, *controls],
        shown,
        show_progress_on=[photo],
        **MODEL,
        **PRIVATE,
    )
    gr.on(
        [control.input for control in controls],
        actions.refilter,
        [session, prompts, *controls],
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        **MODEL,
        **PRIVATE,
    )
    classes.input(
        actions.edit_thresholds,
        [classes, session, prompts, *controls],
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        **MODEL,
        **PRIVATE,
    )
    for index, sample in enumerate(samples):
        sample.click(
            partial(actions.pick_sample, index),
            list(controls),
            shown,
            show_progress_on=[photo],
            **MODEL,
            **PRIVATE,
        )
    photo.upload(actions.new_photo, photo, shown, show_progress="hidden", **PRIVATE)
    photo.clear(actions.clear, None, shown, show_progress="hidden", **PRIVATE)
    for source, make, target, name in (
        (json_button, actions.coco_file, json_file, "file-json"),
        (png_button, actions.picture_file, png_file, "file-png"),
    ):
        # the file is made when asked for: a full-size PNG at every move of a slider would be slow
        source.click(make, session, target, show_progress_on=[source], **PRIVATE).success(
            None, js=render.click_on(name), **PRIVATE
        )
    copies_link(link_button.click, actions.link, [session, prompts, *controls])
    return DetectParts(prompts, Followed("detect", actions.follow, [*controls, *shown]))


def _api(endpoints: Endpoints, photo: Photo, prompts: gr.Textbox, controls: DetectControls) -> None:
    """The endpoints for gradio_client: /detect and /info."""
    coco = answer(answers.Detected, "detections (COCO)")
    picture = gr.File(label="picture", visible=False)
    gr.Button(visible=False).click(
        endpoints.detect, [photo, prompts, *controls], [coco, picture], api_name="detect", **MODEL
    )
    api(endpoints.info, api_name="info")


def _caption(prompts: str) -> str:
    """The words of a sample's prompts, short enough for its thumbnail."""
    return ", ".join(Vocabulary.parse(prompts).names)


def sample_css() -> str:
    """The samples' thumbnails as button backgrounds, inside the style sheet: no requests."""
    rules = []
    for index, (name, _) in enumerate(SAMPLES):
        with Image.open(DEMO / name) as photo:
            photo.thumbnail((320, 320))
            data = base64.b64encode(encode(photo, "JPEG")).decode()
        rules.append(f".sample.photo-{index} {{ --photo: url(data:image/jpeg;base64,{data}); }}")
    return "\n".join(rules)
