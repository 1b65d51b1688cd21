"""Examples, and the regions that are like them, as HTML."""

from __future__ import annotations

from collections.abc import Iterable

from app.index.alike import Alike
from app.ui.explore.cards import DrawnBox, card, gallery, svg
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.explore.like import Example
from app.ui.explore.pictures import Pictures
from app.ui.shared.reading import Reader

CHOSEN, _LIKE, _UNLIKE = "#E69F00", "#009E73", "#D55E00"


def examples_of(
    opened: IndexedRun, pictures: Pictures, examples: Iterable[Example], read: Reader
) -> str:
    """The boxes that were chosen so far."""
    shown = []
    for one in examples:
        row = opened.rows[one.image]
        mark, colour = ("like", _LIKE) if one.positive else ("unlike", _UNLIKE)
        words = f"{mark}: {row.file_name}"
        picture = pictures.part(row, read, one.xyxy)
        drawn = svg(picture, words, [DrawnBox(one.xyxy, colour, words)])
        shown.append(f"<li>{drawn}<span>{mark}</span></li>")
    return f'<ul class="explore-examples" aria-label="Examples">{"".join(shown)}</ul>'


def gallery_of(opened: IndexedRun, pictures: Pictures, found: Iterable[Alike], read: Reader) -> str:
    """The regions that were found, the most alike first."""
    cards = []
    for one in found:
        if one.image not in opened.rows:
            continue
        row = opened.rows[one.image]
        box = DrawnBox(one.xyxy, CHOSEN, "most like the examples")
        picture = pictures.part(row, read, one.xyxy)
        note = f"similarity {one.similarity:.2f}"
        cards.append(card(picture, row.file_name, note, [box], (row.id, one.xyxy)))
    return gallery(cards)
