"""What the Learn part does with photos: every decision goes into the run at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from app.labelstudio.api.connection import Connection
from app.review.photo_boxes import ReviewBox
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.pressed import pressed_number, pressed_point
from app.ui.explore.review import (
    ReviewState,
    add_box,
    boxes_of,
    decide,
    finish,
    next_photo,
    reviewed_photos,
)
from app.ui.explore.review_view import ReviewView
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.trouble import TROUBLE, Trouble, explain

CHOOSES, DRAWS = "chooses a box", "draws a missing box"
"""What a press on the photo does."""
Act = Callable[[IndexedRun, ReviewState, str], ReviewState | Trouble]
"""What becomes of the state; the text says who acts."""
Handler = Callable[[str | None, ReviewState, Connection | None, gr.Request], "ReviewOutputs"]


class ReviewOutputs(NamedTuple):
    """The photo under review."""

    state: Any = SKIP
    view: Any = SKIP
    box: Any = SKIP
    name: Any = SKIP
    status: Any = SKIP


@dataclass(frozen=True)
class ReviewActions:
    """The part's handlers."""

    indexed: IndexedRuns

    def begin(
        self,
        run: str | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """The first photo that is to be reviewed."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return ReviewOutputs(status=render.status("error", opened.message))
        try:
            fresh = state.run != opened.name
            here = ReviewState(opened.name) if fresh else replace(state, finished=False)
            done = reviewed_photos(opened)
            image = next_photo(self.indexed.order(opened), done, here.skipped)
            if image is None:
                words = f"All {len(opened.photos):,} photos are reviewed"
                return ReviewOutputs(here, "", status=render.status("ok", words))
            here = here.of_photo(opened, image)
            return self._shown(opened, here, connection, visitor, names=fresh)
        except TROUBLE as error:
            return ReviewOutputs(status=render.status("error", explain(error)))

    def skip(
        self,
        run: str | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Leave the photo for later."""
        state = replace(state, skipped=state.skipped | {state.image})
        return self.begin(run, state, connection, visitor)

    def finish(
        self,
        run: str | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Nothing is missing on the photo; it stays in sight until the next one is there."""
        done = self._act(
            lambda opened, state, by: finish(opened, state, by), run, state, connection, visitor
        )
        found: Any = done.state
        return ReviewOutputs(found) if getattr(found, "finished", False) else done

    def next_if_finished(
        self,
        run: str | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """The next photo, unless the present one was found wanting."""
        if not state.finished:
            return ReviewOutputs()
        return self.begin(run, state, connection, visitor)

    def doing(self, act: Act) -> Handler:
        """A handler that acts on the photo."""

        def handle(
            run: str | None, state: ReviewState, connection: Connection | None, visitor: gr.Request
        ) -> ReviewOutputs:
            return self._act(act, run, state, connection, visitor)

        return handle

    def press(
        self,
        run: str | None,
        state: ReviewState,
        mode: str,
        name: str | None,
        connection: Connection | None,
        visitor: gr.Request,
        event: gr.EventData,
    ) -> ReviewOutputs:
        """Choose the box that was pressed, or set a corner of a missing one."""
        number, point = pressed_number(event._data), pressed_point(event._data)

        def act(opened: IndexedRun, state: ReviewState, by: str) -> ReviewState | Trouble:
            if point is None:
                return replace(state, chosen=number or 0)
            if mode != DRAWS:
                return replace(state, chosen=_smallest(boxes_of(opened, state), *point))
            if state.corner is None:
                return replace(state, corner=point)
            return add_box(opened, state, name or "", (*state.corner, *point), by)

        return self._act(act, run, state, connection, visitor)

    def choose(
        self,
        run: str | None,
        number: int | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Choose a box by its number."""
        chosen = number if isinstance(number, int) else 0
        return self._act(
            lambda _, state, __: replace(state, chosen=chosen), run, state, connection, visitor
        )

    def rename(
        self,
        run: str | None,
        state: ReviewState,
        name: str | None,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """The chosen box is of this class."""
        return self._act(
            lambda opened, state, by: decide(opened, state, "class", by, name or ""),
            run,
            state,
            connection,
            visitor,
        )

    def add(
        self,
        run: str | None,
        state: ReviewState,
        name: str | None,
        corners: str,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Add a missing box by its corners."""

        def act(opened: IndexedRun, state: ReviewState, by: str) -> ReviewState | Trouble:
            try:
                x1, y1, x2, y2 = (float(part) for part in corners.split(","))
            except ValueError:
                return Trouble("Write four numbers: left, top, right, bottom, in pixels.")
            return add_box(opened, state, name or "", (x1, y1, x2, y2), by)

        return self._act(act, run, state, connection, visitor)

    def _act(
        self,
        act: Act,
        run: str | None,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return ReviewOutputs(status=render.status("error", opened.message))
        if state.run != opened.name or state.image not in opened.rows:
            return ReviewOutputs(status=render.status("hint", "Press “Review the run” first."))
        try:
            found = act(opened, state, self.indexed.by(visitor))
        except TROUBLE as error:
            found = Trouble.of(error)
        if isinstance(found, Trouble):
            return ReviewOutputs(status=render.status("hint", found.message))
        return self._shown(opened, found, connection, visitor)

    def _shown(
        self,
        opened: IndexedRun,
        state: ReviewState,
        connection: Connection | None,
        visitor: gr.Request,
        *,
        names: bool = False,
    ) -> ReviewOutputs:
        reader = self.indexed.reader(connection, visitor)
        shown = ReviewView(self.indexed.pictures).show(opened, state, reader)
        classes: Any = SKIP
        if names:
            every = opened.run.view.vocabulary.names
            classes = gr.Dropdown(choices=list(every), value=every[0])
        boxes = gr.Dropdown(choices=shown.choices, value=state.chosen or None)
        return ReviewOutputs(state, shown.picture, boxes, classes, shown.status)


def _smallest(boxes: list[ReviewBox], x: float, y: float) -> int:
    """Number of the smallest box at a point; 0 where there is none."""
    areas = {
        number: (x2 - x1) * (y2 - y1)
        for number, (x1, y1, x2, y2) in enumerate((one.box.xyxy for one in boxes), 1)
        if x1 <= x <= x2 and y1 <= y <= y2
    }
    return min(areas, key=areas.__getitem__, default=0)
