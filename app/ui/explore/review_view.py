"""The photo under review as the page shows it, and what was learned, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from app.adaptation.learn_run import LearnedRun
from app.adaptation.report_line import report_line
from app.review.photo_boxes import ReviewBox
from app.ui.explore.cards import DrawnBox, boxes_in_words, cross, view
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.explore.pictures import VIEW, Pictures
from app.ui.explore.review import ReviewState, boxes_of, reviewed_photos
from app.ui.shared import html as render
from app.ui.shared.reading import Reader

_WORDS = {
    "undecided": "undecided",
    "accepted": "right",
    "rejected": "wrong",
    "renamed": "other class",
    "moved": "moved",
    "added": "added",
}
_COLOURS = {
    "undecided": "#E69F00",
    "accepted": "#009E73",
    "rejected": "#D55E00",
    "renamed": "#56B4E9",
    "moved": "#56B4E9",
    "added": "#CC79A7",
}
_MOST_LINES = 40


class ShownPhoto(NamedTuple):
    """The picture, the boxes as choices, and the status."""

    picture: str
    choices: list[tuple[str, int]]
    status: str


@dataclass(frozen=True)
class ReviewView:
    """Draws photos under review."""

    pictures: Pictures

    def show(self, opened: IndexedRun, state: ReviewState, read: Reader) -> ShownPhoto:
        """The photo of a state."""
        row, boxes = opened.rows[state.image], boxes_of(opened, state)
        drawn = [
            DrawnBox(
                one.box.xyxy,
                _COLOURS[one.state],
                _words(one),
                number,
                chosen=number == state.chosen,
                dashed=one.state in ("undecided", "rejected"),
            )
            for number, one in enumerate(boxes, 1)
        ]
        picture = self.pictures.photo(row, read, VIEW)
        marks = "" if state.corner is None else cross(*state.corner, picture.frame)
        left, done = sum(one.state == "undecided" for one in boxes), reviewed_photos(opened)
        count = boxes_in_words(len(boxes))
        words = f"{row.file_name}: {count}, {left} undecided"
        if state.image in done:
            words += "; this photo is reviewed"
        lines = [f"{len(done):,} of {len(opened.photos):,} photos are reviewed"]
        if state.corner is not None:
            lines.append("One corner is set; press the opposite one.")
        return ShownPhoto(
            view(picture, f"{row.file_name}: {count}", drawn, marks),
            [(f"{one.number}: {one.words}", one.number) for one in drawn],
            render.status("idle", words, lines),
        )


def _words(one: ReviewBox) -> str:
    score = "" if one.state == "added" else f" {one.box.score:.2f}"
    return f"{one.box.name}{score} · {_WORDS[one.state]}"


def learned_status(done: LearnedRun, seconds: float) -> str:
    """Which classes changed, and how sure that is."""
    reports = done.learned.adapted.reports
    changed = [one for one in reports if one.basis != "words"]
    kept = [one for one in reports if one.basis == "words"]
    count = done.learned.photos
    photos = "1 reviewed photo" if count == 1 else f"{count:,} reviewed photos"
    what = f"{len(changed)} of {len(reports)} classes changed" if changed else "words as before"
    if changed:
        what += f"; {done.rescored:,} other photos have new boxes"
    lines = [report_line(one) for one in (*changed, *kept)]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"… and {len(lines) - _MOST_LINES:,} more classes"]
    if done.unindexed:
        lines.append(f"{done.unindexed:,} reviewed photos are not in the index and taught nothing")
    words = f"Learned from {photos} in {seconds:.1f} s: {what}"
    return render.status("ok" if changed else "hint", words, lines)
