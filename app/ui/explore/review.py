"""One photo of a run under review, its decisions, and what is learned of them; no gradio here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.adaptation.learn_run import LearnedRun, learn_run, words_by
from app.box import Box, Corners
from app.engine import Engine
from app.review.decision import Decision, DecisionError
from app.review.decisions import Decisions
from app.review.photo_boxes import ReviewBox, photo_boxes
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.shared.trouble import TROUBLE, Trouble

LEARN_EVERY = 5
"""Photos that are reviewed before the run learns by itself again."""
Verdict = Literal["right", "wrong", "class"]


@dataclass(frozen=True)
class ReviewState:
    """What stands in the part.

    Attributes:
        run: that is reviewed.
        image: the photo's id; 0 for none.
        shown: its boxes when it came up; decisions are about these.
        chosen: number of a box, from 1; 0 for none.
        corner: of a box that is being drawn, in pixels of the upright original.
        finished: whether nothing is missing on it, so that the next one can come.
        skipped: ids of photos that were left for later.
        since: photos that were reviewed since the run last learned.
    """

    run: str = ""
    image: int = 0
    shown: tuple[Box, ...] = ()
    chosen: int = 0
    corner: tuple[float, float] | None = None
    finished: bool = False
    skipped: frozenset[int] = frozenset()
    since: int = 0

    def of_photo(self, indexed: IndexedRun, image: int) -> ReviewState:
        """The same on another photo, or on this one anew."""
        shown = tuple(indexed.run.boxes(indexed.rows[image]))
        fresh = ReviewState(indexed.name, image, shown, skipped=self.skipped, since=self.since)
        return fresh.onward(indexed)

    def onward(self, indexed: IndexedRun) -> ReviewState:
        """The next undecided box chosen, behind the present one if there is one."""
        states = [one.state for one in boxes_of(indexed, self)]
        open_ = [number for number, state in enumerate(states, 1) if state == "undecided"]
        behind = [number for number in open_ if number > self.chosen]
        return replace(self, chosen=(behind or open_ or [0])[0])


def boxes_of(indexed: IndexedRun, state: ReviewState) -> list[ReviewBox]:
    """The photo's boxes with what was decided of each; their places are their numbers."""
    with Decisions(indexed.run.folder) as decisions:
        return photo_boxes(state.shown, decisions.review(state.image))


def reviewed_photos(indexed: IndexedRun) -> set[int]:
    """Ids of the photos that are reviewed."""
    with Decisions(indexed.run.folder) as decisions:
        return {image for image, one in decisions.reviews().items() if one.state == "reviewed"}


def next_photo(order: Sequence[int], done: Collection[int], skipped: Collection[int]) -> int | None:
    """The first photo to review; those that were skipped come last. None where all are done."""
    left = [image for image in order if image not in done]
    return next((image for image in left if image not in skipped), left[0] if left else None)


def decide(
    indexed: IndexedRun, state: ReviewState, verdict: Verdict, by: str, name: str = ""
) -> ReviewState | Trouble:
    """Decide about the chosen box; the next undecided one is chosen then.

    Args:
        indexed: the run.
        state: the photo.
        verdict: what the box is.
        by: who decides.
        name: the class that it gets, if that is the verdict.
    """
    boxes = boxes_of(indexed, state)
    if not 1 <= state.chosen <= len(boxes):
        return Trouble("Choose a box first.")
    box = boxes[state.chosen - 1].box
    if verdict == "class" and name not in indexed.run.view.vocabulary.names:
        return Trouble("Choose a class first.")
    match verdict:
        case "right":
            decision = Decision.accept(box)
        case "wrong":
            decision = Decision.reject(box)
        case "class":
            decision = Decision.rename(box, name)
    return _decided(indexed, state, [decision], by) or state.onward(indexed)


def decide_rest(
    indexed: IndexedRun, state: ReviewState, right: bool, by: str
) -> ReviewState | Trouble:
    """All boxes that are undecided are right, or wrong, in one step."""
    left = [one.box for one in boxes_of(indexed, state) if one.state == "undecided"]
    found = [Decision.accept(box) if right else Decision.reject(box) for box in left]
    return _decided(indexed, state, found, by) or state.onward(indexed)


def add_box(
    indexed: IndexedRun, state: ReviewState, name: str, xyxy: Corners, by: str
) -> ReviewState | Trouble:
    """A box that was missing; it is cut at the photo's borders."""
    if name not in indexed.run.view.vocabulary.names:
        return Trouble("Choose the missing box's class first.")
    width, height = indexed.rows[state.image].size
    (x1, x2), (y1, y2) = sorted(xyxy[::2]), sorted(xyxy[1::2])
    place = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
    if place[2] - place[0] < 1 or place[3] - place[1] < 1:
        return Trouble("A box needs two corners apart from each other, inside the photo.")
    try:
        decision = Decision.add(name, place)
    except DecisionError as error:
        return Trouble.of(error)
    return _decided(indexed, state, [decision], by) or replace(state, corner=None)


def finish(indexed: IndexedRun, state: ReviewState, by: str) -> ReviewState | Trouble:
    """Nothing is missing: the photo is reviewed for all classes."""
    left = sum(one.state == "undecided" for one in boxes_of(indexed, state))
    if left:
        boxes = "1 box is" if left == 1 else f"{left} boxes are"
        return Trouble(
            f"{boxes} undecided: say right or wrong of each, or press “Others are right” or "
            "“Others are wrong”."
        )
    names = indexed.run.view.vocabulary.names
    finished = replace(state, finished=True, since=state.since + 1)
    return _decided(indexed, state, [], by, names) or finished


def undo(indexed: IndexedRun, state: ReviewState, by: str) -> ReviewState | Trouble:
    """Take the last step of the photo back; if it has none, that of the run, and show its photo."""
    try:
        with Decisions(indexed.run.folder) as decisions:
            image = decisions.undo(state.image, by=by) or decisions.undo(by=by)
    except TROUBLE as error:
        return Trouble.of(error)
    if image is None:
        return Trouble("Nothing to undo.")
    if image == state.image:
        return replace(state, corner=None, chosen=0, finished=False).onward(indexed)
    if image not in indexed.rows:
        return Trouble("A step of a photo that is not in the run any more was undone.")
    return replace(state, since=max(0, state.since - 1)).of_photo(indexed, image)


def learn(indexed: IndexedRun, engine: Engine) -> LearnedRun | Trouble:
    """Learn the run's classes; the photos that are left get new boxes."""
    if not reviewed_photos(indexed):
        return Trouble("No photo is reviewed yet: decide about boxes, then “Nothing is missing”.")
    try:
        return learn_run(indexed.run, words_by(lambda: engine.predictor))
    except TROUBLE as error:
        return Trouble.of(error)


def _decided(
    indexed: IndexedRun,
    state: ReviewState,
    found: list[Decision],
    by: str,
    reviewed: Sequence[str] = (),
) -> Trouble | None:
    """Append to the table; what the disk or the table refuses is said."""
    try:
        with Decisions(indexed.run.folder) as decisions:
            decisions.decide(state.image, found, by=by, reviewed=reviewed)
    except TROUBLE as error:
        return Trouble.of(error)
    return None
