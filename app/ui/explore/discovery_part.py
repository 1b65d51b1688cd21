"""Discovery: which of the dictionary's names a run holds; one press makes a name a word to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from app.index.discovery import Concept, discover
from app.labelstudio.api.connection import Connection
from app.ui.explore.cards import OPEN_JS, DrawnBox, card
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.panel import panel
from app.ui.explore.pressed import pressed_name
from app.ui.shared import html as render
from app.ui.shared.events import LONG, PRIVATE, SKIP
from app.ui.shared.reading import Reader
from app.ui.shared.stopping import PROGRESS, Stops, stoppable
from app.ui.shared.trouble import TROUBLE, Trouble, explain
from detclipv2.language.concepts import load_concepts
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

_MOST, _EXAMPLES = 24, 3
_COLOUR = "#E69F00"
_JS = (
    OPEN_JS
    + """
element.addEventListener("click", (event) => {
  const name = event.target.closest("[data-name]");
  if (name) trigger("select", { name: name.dataset.name });
});
"""
)


class DiscoveryOutputs(NamedTuple):
    """What is said, and the names."""

    status: str
    names: Any = ""


@dataclass(frozen=True)
class DiscoveryActions:
    """The part's handlers.

    Args:
        indexed: the runs.
        names: what is looked for; None for the concept dictionary.
        stops: of the part's Stop button.
    """

    indexed: IndexedRuns
    names: Sequence[str] | None = None
    stops: Stops = field(default_factory=Stops)

    def find(
        self,
        run: str | None,
        connection: Connection | None,
        visitor: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> DiscoveryOutputs:
        """Rank the names by what the run holds."""
        opened = self.indexed.open_of_model(run, visitor)
        if isinstance(opened, Trouble):
            return DiscoveryOutputs(render.status("error", opened.message))
        names = load_concepts().names if self.names is None else self.names
        try:
            found = discover(
                opened.index,
                self.indexed.engine.predictor,
                names,
                most=_MOST,
                on_progress=self.stops.progress_of("Reading names", progress, visitor),
            )
        except TROUBLE as error:
            return DiscoveryOutputs(render.status("hint", explain(error)), SKIP)
        words = f"The {len(found)} of {len(names):,} names that fit the photos best, best first"
        read = self.indexed.reader(connection, visitor)
        shown = "".join(_concept(opened, self.indexed, one, read) for one in found)
        return DiscoveryOutputs(
            render.status("ok", words), f'<div class="explore-names">{shown}</div>'
        )


def with_name(prompts: str, name: str) -> str:
    """The words with one more; the same where it is among them, or is no name."""
    if not 0 < len(name) < 200:
        return prompts
    try:
        word = Vocabulary.of([name]).serialise()
    except VocabularyError:
        return prompts
    lines = [line for line in prompts.splitlines() if line.strip()]
    return prompts if word in lines else "\n".join([*lines, word])


def _concept(indexed: IndexedRun, runs: IndexedRuns, concept: Concept, read: Reader) -> str:
    cards = []
    for image, xyxy in concept.examples[:_EXAMPLES]:
        if image not in indexed.rows:
            continue
        row = indexed.rows[image]
        box = DrawnBox(xyxy, _COLOUR, concept.name)
        picture = runs.pictures.part(row, read, xyxy)
        cards.append(card(picture, row.file_name, "", [box], (image, xyxy)))
    name = escape(concept.name)
    return (
        f'<section aria-label="{name}"><div class="explore-name"><h4>{name}</h4>'
        f'<button data-name="{name}" aria-label="Ask for {name}">Ask for it</button></div>'
        f'<div class="cards explore-cards small">{"".join(cards)}</div></section>'
    )


def build(
    indexed: IndexedRuns,
    run: gr.Dropdown,
    connection: gr.State,
    prompts: gr.Textbox,
    parts: gr.Tabs,
) -> gr.HTML:
    """Lay the part out; names that are pressed join `prompts`. Returns its gallery."""
    actions = DiscoveryActions(indexed)
    with gr.Row():
        find = gr.Button("Discover", variant="primary", elem_id="disc-find", scale=3)
        stop = gr.Button("Stop", elem_id="disc-stop", visible=False, scale=1, min_width=70)
    status = gr.HTML(
        render.status(
            "idle",
            "14,000 names are compared with the run's surest regions. The first time takes "
            "minutes, since the model reads the names; they are kept.",
        ),
        elem_id="disc-status",
        elem_classes="plain",
    )
    names = panel("disc-names", _JS)
    stoppable(
        actions.stops,
        find.click,
        actions.find,
        [run, connection],
        list(DiscoveryOutputs(status, names)),  # type: ignore[arg-type]
        button=stop,
        show_progress_on=[status],
        **LONG,
        **PRIVATE,
    )
    stop.click(actions.stops.end, None, status, show_progress="hidden", **PRIVATE)

    def take(text: str, event: gr.EventData) -> tuple[str, gr.Tabs]:
        return with_name(text, pressed_name(event._data)), gr.Tabs(selected="ask")

    names.select(take, prompts, [prompts, parts], show_progress="hidden", **PRIVATE)
    return names
