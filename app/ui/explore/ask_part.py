"""Ask: any words over a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from app.engine import Engine
from app.formats.drawing import colour_of, text_colour_on
from app.labelstudio.api.connection import Connection
from app.ui.explore.ask import Answer, answer, keep
from app.ui.explore.cards import OPEN_JS, DrawnBox, boxes_in_words, card, gallery
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.panel import panel
from app.ui.shared import html as render
from app.ui.shared import vocabulary_chips
from app.ui.shared.events import LONG, PRIVATE
from app.ui.shared.reading import Reader
from app.ui.shared.trouble import TROUBLE, Trouble, explain
from detclipv2.serving import FLOOR

_MOST_BOXES = 40
"""Boxes that are drawn on a photo of the gallery, the best ones."""


class AskOutputs(NamedTuple):
    """What is said, and the photos."""

    status: str
    gallery: str = ""


@dataclass(frozen=True)
class AskActions:
    """The part's handlers."""

    indexed: IndexedRuns

    def ask(
        self,
        run: str | None,
        prompts: str,
        threshold: float,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> AskOutputs:
        """Find the words over the run."""
        opened = self.indexed.open_of_model(run, visitor)
        if isinstance(opened, Trouble):
            return AskOutputs(render.status("error", opened.message))
        found = answer(opened, self.indexed.engine, prompts, threshold)
        if isinstance(found, Trouble):
            return AskOutputs(render.status("error", found.message))
        shown = _gallery(opened, self.indexed, found, self.indexed.reader(connection, visitor))
        return AskOutputs(_summary(found), shown)

    def keep(
        self, run: str | None, prompts: str, threshold: float, name: str, visitor: gr.Request
    ) -> str:
        """Keep the answer as a run of its own."""
        opened = self.indexed.open_of_model(run, visitor)
        if isinstance(opened, Trouble):
            return render.status("error", opened.message)
        if not prompts.strip():
            return render.status("hint", "Type words first; what they find is kept.")
        by = self.indexed.access.origin(visitor)
        try:
            with self.indexed.runs.new(name.strip() or f"{opened.name} asked") as folder:
                kept = keep(opened, self.indexed.engine, prompts, threshold, folder, by)
                counts = kept.counts()
                kept.close()
        except TROUBLE as error:
            return render.status("error", explain(error))
        words = f"Kept as “{folder.name}”: {counts.done:,} of {counts.total:,} photos have boxes"
        lines = ["It is in the lists of the tabs Batch and Label Studio, to export or push."]
        return render.status("ok", words, lines)


def tags(counts: Mapping[str, int]) -> str:
    """Classes with their numbers of boxes, in their colours."""
    return "".join(
        f'<span class="tag" style="background:{colour_of(index)};'
        f'color:{text_colour_on(colour_of(index))}">{escape(name)} {number:,}</span>'
        for index, (name, number) in enumerate(counts.items())
        if number
    )


def _summary(found: Answer) -> str:
    counts = found.counts
    total = sum(counts.values())
    asked = f"asked {len(found.found):,} photos in {found.seconds:.1f} s"
    lines = []
    if found.missing:
        lines.append(f"{found.missing:,} photos of the run are not in its index.")
    if not total:
        words = f"Nothing above {found.settings.threshold:g}; {asked}. Lower it, or use other words"
        return render.status("hint", words, lines)
    shown = len(found.best())
    if shown < found.photos:
        lines.append(f"The gallery shows the {shown} surest photos.")
    if silent := [name for name, number in counts.items() if not number]:
        more = f" and {len(silent) - 12:,} more" if len(silent) > 12 else ""
        lines.append(f"Not found: {', '.join(silent[:12])}{more}.")
    photos = "1 photo" if found.photos == 1 else f"{found.photos:,} photos"
    words = f"{boxes_in_words(total)} on {photos}; {asked}"
    head = render.status("ok", words, lines)
    return f"{head}<div class='explore-tags'>{tags(counts)}</div>"


def _gallery(indexed: IndexedRun, runs: IndexedRuns, found: Answer, read: Reader) -> str:
    names = found.vocabulary.names
    cards = []
    for one in found.best():
        row = indexed.rows[one.image]
        boxes = [
            DrawnBox((x1, y1, x2, y2), colour_of(index), names[index])
            for (x1, y1, x2, y2), index in zip(
                one.boxes[:_MOST_BOXES].tolist(), one.classes.tolist(), strict=False
            )
        ]
        best = one.boxes[0].tolist()
        surest = f"{names[one.classes[0]]} {one.scores[0]:.2f}"
        note = f"{boxes_in_words(len(one.scores))}, the surest: {surest}"
        picture = runs.pictures.photo(row, read)
        cards.append(card(picture, row.file_name, note, boxes[::-1], (row.id, tuple(best))))
    return gallery(cards)


class AskParts(NamedTuple):
    """What other parts of the tab use."""

    prompts: gr.Textbox
    gallery: gr.HTML


def build(indexed: IndexedRuns, engine: Engine, run: gr.Dropdown, connection: gr.State) -> AskParts:
    """Lay the part out in the current place."""
    actions = AskActions(indexed)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            prompts = gr.Textbox(
                value="",
                label="What to look for in the whole run",
                lines=2,
                max_lines=8,
                elem_id="ask-prompts",
                placeholder="a red mug, !shadow",
                info="Any words: the photos were looked at once, and are not looked at again.",
            )
            vocabulary_chips.build(prompts, "ask-prompts", engine.vocabulary)
        with gr.Column(scale=2, min_width=300):
            threshold = gr.Slider(
                FLOOR,
                1,
                engine.list_defaults.threshold,
                step=0.01,
                label="Threshold",
                elem_id="ask-threshold",
            )
            go = gr.Button("Ask", variant="primary", elem_id="ask-go")
    status = gr.HTML(
        render.status("idle", "Type words, then ask."), elem_id="ask-status", elem_classes="plain"
    )
    photos = panel("ask-gallery", OPEN_JS)
    with gr.Row(equal_height=False):
        name = gr.Textbox(
            value="",
            label="Name of a run of its own (optional)",
            max_lines=1,
            elem_id="ask-name",
            scale=3,
        )
        store = gr.Button("Keep as a run of its own", elem_id="ask-keep", scale=2)
    kept = gr.HTML("", elem_id="ask-kept", elem_classes="plain")
    inputs = [run, prompts, threshold, connection]
    shown: list[Any] = list(AskOutputs(status, photos))  # type: ignore[arg-type]
    gr.on([go.click, prompts.submit], actions.ask, inputs, shown, **LONG, **PRIVATE)
    threshold.release(actions.ask, inputs, shown, show_progress="hidden", **LONG, **PRIVATE)
    store.click(actions.keep, [run, prompts, threshold, name], kept, **LONG, **PRIVATE)
    return AskParts(prompts, photos)
