"""Photos and parts of photos with boxes, as HTML; every word of theirs is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from app.box import Corners
from app.formats.drawing import text_colour_on
from app.ui.explore.pictures import Picture

MOST = 24
"""Photos of a gallery."""
OPEN_JS = """
element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-photo]");
  if (!card) return;
  trigger("open", { photo: Number(card.dataset.photo), box: JSON.parse(card.dataset.box) });
});
"""
"""Tells which card of a gallery was pressed."""
VIEW_JS = """
element.addEventListener("click", (event) => {
  const view = event.target.closest("svg");
  if (!view) return;
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(
    view.getScreenCTM().inverse());
  trigger("select", { x: point.x, y: point.y });
});
element.addEventListener("keydown", (event) => {
  const box = event.target.closest("[data-number]");
  if (!box || !["Enter", " "].includes(event.key)) return;
  event.preventDefault();
  trigger("select", { number: Number(box.dataset.number) });
});
"""
"""Tells where a photo was pressed, in its pixels, or which box was chosen by the keyboard."""


@dataclass(frozen=True)
class DrawnBox:
    """A box on a picture.

    Attributes:
        xyxy: in pixels of the upright original.
        colour: "#RRGGBB".
        words: what it is.
        number: shown beside it; 0 for none.
        chosen: drawn thicker.
        dashed: drawn with gaps.
    """

    xyxy: Corners
    colour: str
    words: str
    number: int = 0
    chosen: bool = False
    dashed: bool = False


def boxes_in_words(count: int) -> str:
    """So many boxes."""
    return "1 box" if count == 1 else f"{count:,} boxes"


def gallery(cards: Iterable[str]) -> str:
    """Cards beside each other; nothing where there are none."""
    shown = "".join(cards)
    return f'<div class="cards explore-cards">{shown}</div>' if shown else ""


def card(
    picture: Picture,
    title: str,
    note: str,
    boxes: Sequence[DrawnBox],
    opens: tuple[int, Corners | None],
    *,
    marked: bool = False,
) -> str:
    """A photo, or a part of one, as a button.

    Args:
        picture: the copy.
        title: the photo's name.
        note: small, below it.
        boxes: drawn on it.
        opens: the photo's id, and the box that is chosen on it.
        marked: whether it stands out among the others.
    """
    image, box = opens
    kind = "card marked" if marked else "card"
    return (
        f'<button class="{kind}" data-photo="{image}" data-box="{escape(json.dumps(box))}" '
        f'title="Open it under “More like this”">{svg(picture, title, boxes)}'
        f"<p>{escape(title)}</p><small>{escape(note)}</small></button>"
    )


def svg(picture: Picture, label: str, boxes: Sequence[DrawnBox]) -> str:
    """A picture with boxes."""
    x1, y1, x2, y2 = picture.frame
    thick = max(x2 - x1, y2 - y1) / 110
    return (
        f'<svg viewBox="{x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g}" role="img" '
        f'aria-label="{escape(label)}">{_image(picture)}'
        f"{''.join(_rect(box, thick) for box in boxes)}</svg>"
    )


def view(picture: Picture, label: str, boxes: Sequence[DrawnBox], marks: str = "") -> str:
    """The photo that is worked on: its boxes have numbers and can be reached by the keyboard.

    Args:
        picture: the copy.
        label: of the whole.
        boxes: the first one lies on top.
        marks: more SVG, drawn last.
    """
    x1, y1, x2, y2 = picture.frame
    long_side = max(x2 - x1, y2 - y1)
    thick, size = long_side / 300, long_side / 38
    drawn = "".join(
        f'<g tabindex="0" role="button" data-number="{box.number}" aria-pressed='
        f'"{str(box.chosen).lower()}" aria-label="{escape(f"Box {box.number}: {box.words}")}">'
        f"<title>{escape(f'{box.number}: {box.words}')}</title>"
        f"{_rect(box, thick)}{_number(box, size, picture.frame)}</g>"
        for box in sorted(reversed(boxes), key=lambda one: one.chosen)
    )
    return (
        f'<svg class="explore-view" viewBox="{x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g}" role="group" '
        f'aria-label="{escape(label)}">{_image(picture)}{drawn}{marks}</svg>'
    )


def cross(x: float, y: float, frame: Corners) -> str:
    """A mark at a point."""
    arm = max(frame[2] - frame[0], frame[3] - frame[1]) / 40
    path = f"M{x - arm:.1f} {y:.1f}H{x + arm:.1f}M{x:.1f} {y - arm:.1f}V{y + arm:.1f}"
    return (
        f'<path d="{path}" stroke="#000" stroke-width="{arm / 3:.1f}"/>'
        f'<path d="{path}" stroke="#fff" stroke-width="{arm / 7:.1f}"/>'
    )


def _image(picture: Picture) -> str:
    x1, y1, x2, y2 = picture.frame
    place = f'x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"'
    if picture.address:
        return f'<image href="{picture.address}" {place} preserveAspectRatio="none"/>'
    size = (x2 - x1) / 16
    return (
        f'<rect {place} fill="#475569"/><text x="{x1 + size:g}" y="{y1 + 2 * size:g}" '
        f'font-size="{size:g}" fill="#fff">the photo cannot be read</text>'
    )


def _rect(box: DrawnBox, thick: float) -> str:
    x1, y1, x2, y2 = box.xyxy
    thick *= 2 if box.chosen else 1
    place = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none"'
    dash = f' stroke-dasharray="{4 * thick:.1f} {3 * thick:.1f}"' if box.dashed else ""
    return (
        f'<rect {place} stroke="#000" stroke-opacity=".55" stroke-width="{1.8 * thick:.1f}"/>'
        f'<rect {place} stroke="{box.colour}" stroke-width="{thick:.1f}"{dash}/>'
    )


def _number(box: DrawnBox, size: float, frame: Corners) -> str:
    """The box's number on a plate in its upper left corner."""
    words = str(box.number)
    width = size * (0.5 + 0.62 * len(words))
    x = min(max(box.xyxy[0], frame[0]), frame[2] - width)
    y = min(max(box.xyxy[1], frame[1]), frame[3] - 1.2 * size)
    ink = text_colour_on(box.colour)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{1.2 * size:.1f}" '
        f'fill="{box.colour}"/><text x="{x + size / 4:.1f}" y="{y + 0.95 * size:.1f}" '
        f'font-size="{size:.1f}" font-weight="600" fill="{ink}">{words}</text>'
    )
