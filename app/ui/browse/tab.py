"""The Browse tab: every photo of a captioned data set with its alignments, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from app.browse.records import ORDERS
from app.engine import Engine
from app.ui.align.tab import AlignParts
from app.ui.browse.actions import BrowseActions, GalleryOutputs, JobOutputs
from app.ui.browse.find import ANY
from app.ui.shared.access import Access
from app.ui.shared.events import MODEL, PRIVATE, SKIP
from app.ui.shared.links import Followed, copies_link

_OPEN = """
element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-photo]");
  if (card) trigger("open", { photo: Number(card.dataset.photo) });
});
"""


def build(
    engine: Engine, access: Access, prompts: gr.Textbox, align: AlignParts, tabs: gr.Tabs
) -> Followed:
    """Lay the tab out; `prompts` is the Detect tab's, `align` the Align tab's parts."""
    actions = BrowseActions(engine, access)
    folder = gr.State("")
    typed = gr.State("")  # the phrase that the gallery was filtered by
    with gr.Row(equal_height=True):
        source = gr.Textbox(
            label="Data set with captions (folder or file on this machine)",
            scale=4,
            max_lines=1,
            elem_id="browse-source",
            min_width=280,
            placeholder="/data/flickr8k/captions.json",
            info="COCO captions, Flickr8k, .tsv, webdataset .tar, or a .txt beside each photo.",
        )
        earlier = gr.Dropdown(
            [],
            label="… or one aligned earlier",
            scale=3,
            elem_id="browse-earlier",
            value=None,
            min_width=280,
        )
    with gr.Row():
        start = gr.Button("Align all", variant="primary", elem_id="browse-start", scale=3)
        cancel = gr.Button("Cancel", elem_id="browse-cancel", scale=1)
    status = gr.HTML(actions.status(""), elem_id="browse-status")
    with gr.Row(elem_id="browse-filter"):
        phrase = gr.Textbox(label="Phrase", placeholder="dog", elem_id="browse-phrase", max_lines=1)
        most = gr.Slider(
            -4, ANY, ANY, step=0.1, label="Mean evidence at most", elem_id="browse-most"
        )
        least = gr.Slider(
            -3,
            3,
            engine.evidence,
            step=0.01,
            label="A region needs evidence",
            elem_id="browse-least",
        )
        order = gr.Dropdown(list(ORDERS), value="worst", label="First", elem_id="browse-order")
    with gr.Row(elem_id="browse-pages"):
        missing = gr.Checkbox(
            label="Only with a phrase without a region", elem_id="browse-missing", container=False
        )
        place = gr.HTML("", elem_id="browse-place")
        back = gr.Button("‹ Back", elem_id="browse-back", size="sm", min_width=60)
        page = gr.Number(
            1,
            precision=0,
            minimum=1,
            label="Page",
            elem_id="browse-page",
            min_width=80,
            container=False,
        )
        onward = gr.Button("Next ›", elem_id="browse-next", size="sm", min_width=60)
        link = gr.Button("Copy link", elem_id="browse-link", size="sm", min_width=90)
    gallery = gr.HTML(elem_id="browse-gallery", js_on_load=_OPEN, apply_default_css=False)
    with gr.Accordion("Noun phrases of the data set", open=False, elem_id="browse-words") as words:
        table = gr.Dataframe(
            headers=["phrase", "captions", "share without a region", "mean evidence"],
            datatype=("str", "number", "number", "number"),
            type="array",
            interactive=False,
            elem_id="browse-table",
            max_height=360,
            show_label=False,
            buttons=["copy"],
        )
        with gr.Row():
            top = gr.Slider(1, 300, 30, step=1, label="The most frequent", elem_id="browse-top")
            use = gr.Button("Detect these: make them the prompts", elem_id="browse-use")
    timer = gr.Timer(1.5, active=False)

    filters = [folder, phrase, most, missing, least, order, page]
    shown = list(GalleryOutputs(gallery, place, page))
    job = list(JobOutputs(status, folder, timer))
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}

    def from_the_start(visitor: gr.Request, folder: str, *values: Any) -> GalleryOutputs:
        first_page = (*values[:-1], 1)
        return actions.show(folder, *first_page, visitor)  # type: ignore[call-arg]

    def filter_by_phrase(
        visitor: gr.Request, before: str, folder: str, phrase: str, *values: Any
    ) -> Sequence[Any]:
        if phrase == before:  # a link has set it, together with the page
            return [*GalleryOutputs(), SKIP]
        return [*from_the_start(visitor, folder, phrase, *values), phrase]

    for began in (
        gr.on([start.click, source.submit], actions.start, source, job, **quiet),
        earlier.input(actions.choose, earlier, job, **quiet),
    ):
        began.then(from_the_start, filters, shown, **quiet)
    cancel.click(actions.cancel, folder, status, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    timer.tick(actions.tick, folder, [status, timer], **quiet).then(
        actions.show, filters, shown, **quiet
    )
    gr.on(
        [most.release, missing.input, least.release, order.input],
        from_the_start,
        filters,
        shown,
        trigger_mode="always_last",
        **quiet,
    )
    phrase.change(
        filter_by_phrase, [typed, *filters], [*shown, typed], trigger_mode="always_last", **quiet
    )
    page.submit(actions.show, filters, shown, **quiet)
    back.click(lambda n: max(1, int(n) - 1), page, page, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    onward.click(lambda n: int(n) + 1, page, page, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    words.expand(actions.vocabulary, [folder, least], table, **quiet)
    use.click(actions.as_prompts, [table, top], [prompts, tabs], **quiet)
    gallery.open(actions.open, folder, [align.photo, align.caption, tabs], **quiet).success(
        align.run, align.inputs, align.shown, **MODEL, **PRIVATE
    )
    gr.on([earlier.focus], actions.earlier, None, earlier, **quiet)
    copies_link(link.click, actions.link, filters)
    return Followed("browse", actions.follow, [*filters[:-1], typed, *shown, status, timer])
