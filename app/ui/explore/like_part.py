"""More like this: regions of a run that are like some boxes, and unlike others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from app.labelstudio.api.connection import Connection
from app.ui.explore.cards import MOST, OPEN_JS, VIEW_JS, DrawnBox, boxes_in_words, view
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.like import (
    MOST_EXAMPLES,
    Example,
    LikeState,
    box_at,
    boxes_of,
    find_like,
    photo_beside,
)
from app.ui.explore.like_view import CHOSEN, examples_of, gallery_of
from app.ui.explore.panel import panel
from app.ui.explore.pictures import VIEW
from app.ui.explore.pressed import pressed_card, pressed_number, pressed_point
from app.ui.shared import html as render
from app.ui.shared.events import LONG, PRIVATE, SKIP
from app.ui.shared.reading import Reader
from app.ui.shared.trouble import TROUBLE, Trouble, explain

_BOX = "#56B4E9"
HINT = (
    "Find a photo, and choose a box: press it, or pick it from the list. Any other place of the "
    "photo works, too. Photos of the other parts open here when they are pressed."
)


class PhotoOutputs(NamedTuple):
    """The photo that examples are chosen on."""

    state: Any = SKIP
    view: Any = SKIP
    box: Any = SKIP
    status: Any = SKIP


class LikeOutputs(NamedTuple):
    """What was found."""

    state: Any = SKIP
    examples: Any = SKIP
    status: Any = SKIP
    gallery: Any = SKIP


@dataclass(frozen=True)
class LikeActions:
    """The part's handlers."""

    indexed: IndexedRuns

    def turn(
        self,
        run: str | None,
        text: str,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
        after: bool = True,
    ) -> PhotoOutputs:
        """Show the next photo of that name, or the one before."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return _refused(opened.message)
        state = _of_run(state, opened)
        image = photo_beside(opened, text, state.image, after=after)
        if image is None:
            return _refused(f"no indexed photo has “{text.strip()}” in its name")
        state = replace(state, image=image, chosen=None)
        return self._shown(opened, state, self.indexed.reader(connection, visitor))

    def first(
        self, run: str | None, state: LikeState, connection: Connection | None, visitor: gr.Request
    ) -> PhotoOutputs:
        """Show a photo to begin with, where none is shown of this run."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble) or _of_run(state, opened).image:
            return PhotoOutputs()
        return self.turn(run, "", state, connection, visitor)._replace(status=SKIP)

    def open(
        self,
        run: str | None,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
        event: gr.EventData,
    ) -> PhotoOutputs:
        """Show the photo of a card, with its box chosen."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return _refused(opened.message)
        found = pressed_card(event._data)
        if found is None or found[0] not in opened.rows:
            return _refused("this photo is of another run; show it again")
        state = replace(_of_run(state, opened), image=found[0], chosen=found[1])
        return self._shown(opened, state, self.indexed.reader(connection, visitor))

    def press(
        self,
        run: str | None,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
        event: gr.EventData,
    ) -> PhotoOutputs:
        """Choose the box where the photo was pressed, or that the keyboard chose."""
        if (number := pressed_number(event._data)) is not None:
            return self.choose(run, number, state, connection, visitor)
        opened, point = self.indexed.open(run, visitor), pressed_point(event._data)
        if isinstance(opened, Trouble) or state.image not in opened.rows or point is None:
            return PhotoOutputs()
        try:
            box = box_at(opened, state.image, *point)
        except TROUBLE as error:
            return _refused(explain(error))
        if box is None:
            return PhotoOutputs(status=render.status("hint", "Nothing was kept of this place."))
        reader = self.indexed.reader(connection, visitor)
        return self._shown(opened, replace(state, chosen=box), reader)

    def choose(
        self,
        run: str | None,
        number: object,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> PhotoOutputs:
        """Choose a box by its number."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble) or state.image not in opened.rows:
            return PhotoOutputs()
        boxes = boxes_of(opened, state.image)
        if not isinstance(number, int) or not 1 <= number <= len(boxes):
            return PhotoOutputs()
        reader = self.indexed.reader(connection, visitor)
        return self._shown(opened, replace(state, chosen=boxes[number - 1].xyxy), reader)

    def like(
        self,
        run: str | None,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
        positive: bool = True,
    ) -> LikeOutputs:
        """Take the chosen box as an example, and find."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return LikeOutputs(status=render.status("error", opened.message))
        state = _of_run(state, opened)
        if state.chosen is None:
            return LikeOutputs(status=render.status("hint", "Choose a box of a photo first."))
        one = Example(state.image, state.chosen, positive)
        kept = tuple(e for e in state.examples if (e.image, e.xyxy) != (one.image, one.xyxy))
        state = replace(state, examples=(*kept, one)[-MOST_EXAMPLES:])
        reader = self.indexed.reader(connection, visitor)
        shown = examples_of(opened, self.indexed.pictures, state.examples, reader)
        found = find_like(opened, state.examples)
        if isinstance(found, Trouble):
            return LikeOutputs(state, shown, render.status("hint", found.message), "")
        words = f"The {len(found):,} photos most like that, of {len(opened.photos):,}"
        lines = [f"One region a photo; at most {MOST} photos are shown."]
        cards = gallery_of(opened, self.indexed.pictures, found, reader)
        return LikeOutputs(state, shown, render.status("ok", words, lines), cards)

    def clear(self, state: LikeState) -> LikeOutputs:
        """Forget the examples."""
        return LikeOutputs(replace(state, examples=()), "", render.status("idle", HINT), "")

    def _shown(self, opened: IndexedRun, state: LikeState, read: Reader) -> PhotoOutputs:
        row, boxes = opened.rows[state.image], boxes_of(opened, state.image)
        drawn = [
            DrawnBox(box.xyxy, _BOX, f"{box.name} {box.score:.2f}", number)
            for number, box in enumerate(boxes, 1)
        ]
        number = next((d.number for d in drawn if d.xyxy == state.chosen), None)
        if number is not None:
            drawn[number - 1] = replace(drawn[number - 1], colour=CHOSEN, chosen=True)
        elif state.chosen is not None:
            drawn.insert(0, DrawnBox(state.chosen, CHOSEN, "the chosen place", 0, chosen=True))
        picture = self.indexed.pictures.photo(row, read, VIEW)
        choices = [(f"{d.number}: {d.words}", d.number) for d in drawn if d.number]
        label = f"{row.file_name}: {boxes_in_words(len(boxes))}"
        words = "nothing is chosen on it yet" if state.chosen is None else "a box is chosen"
        return PhotoOutputs(
            state,
            view(picture, label, drawn),
            gr.Dropdown(choices=choices, value=number),
            render.status("idle", f"{row.file_name}: {words}"),
        )


def _of_run(state: LikeState, opened: IndexedRun) -> LikeState:
    """The state, begun anew where the run is another one."""
    return state if state.run == opened.name else LikeState(opened.name)


def _refused(words: str) -> PhotoOutputs:
    return PhotoOutputs(status=render.status("error", words))


def build(
    indexed: IndexedRuns,
    run: gr.Dropdown,
    connection: gr.State,
    elsewhere: list[gr.HTML],
    parts: gr.Tabs,
    tab: gr.Tab,
) -> None:
    """Lay the part out in its tab; cards of the galleries `elsewhere` open here."""
    actions = LikeActions(indexed)
    state = gr.State(LikeState())
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            shown = panel("like-view", VIEW_JS)
        with gr.Column(scale=2, min_width=300):
            name = gr.Textbox(
                value="",
                label="Photo, by name or part of it",
                max_lines=1,
                elem_id="like-name",
                placeholder="kitchen",
            )
            with gr.Row():
                back = gr.Button("◀ Previous", elem_id="like-back", min_width=90)
                onward = gr.Button("Next ▶", elem_id="like-next", min_width=90)
            box = gr.Dropdown(
                choices=[], value=None, label="Box", elem_id="like-box", interactive=True
            )
            with gr.Row():
                add = gr.Button(
                    "More like this", variant="primary", elem_id="like-add", min_width=120
                )
                unlike = gr.Button("… not like this", elem_id="like-unlike", min_width=120)
            clear = gr.Button("Begin anew", elem_id="like-clear")
            at = gr.HTML(render.status("idle", HINT), elem_id="like-at", elem_classes="plain")
    examples = panel("like-examples")
    status = gr.HTML("", elem_id="like-status", elem_classes="plain")
    photos = panel("like-gallery", OPEN_JS)
    photo: list[Any] = list(PhotoOutputs(state, shown, box, at))
    found: list[Any] = list(LikeOutputs(state, examples, status, photos))

    def earlier(
        run: str | None,
        text: str,
        state: LikeState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> PhotoOutputs:
        return actions.turn(run, text, state, connection, visitor, after=False)

    def not_like(
        run: str | None, state: LikeState, connection: Connection | None, visitor: gr.Request
    ) -> LikeOutputs:
        return actions.like(run, state, connection, visitor, positive=False)

    named = [run, name, state, connection]
    quiet: dict[str, Any] = {"show_progress": "hidden", **LONG, **PRIVATE}
    gr.on([onward.click, name.submit], actions.turn, named, photo, **quiet)
    back.click(earlier, named, photo, **quiet)
    here = [run, state, connection]
    tab.select(actions.first, here, photo, **quiet)
    shown.select(actions.press, here, photo, **quiet)
    box.input(actions.choose, [run, box, state, connection], photo, **quiet)
    photos.open(actions.open, here, photo, **quiet)
    for other in elsewhere:
        other.open(actions.open, here, photo, **quiet).then(
            lambda: gr.Tabs(selected="like"), None, parts, **quiet
        )
    add.click(actions.like, here, found, **LONG, **PRIVATE)
    unlike.click(not_like, here, found, **LONG, **PRIVATE)
    clear.click(actions.clear, state, found, **quiet)
