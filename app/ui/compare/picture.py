"""A photo with what changed on it between two sides, as SVG in HTML."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Sequence
from html import escape

from app.comparison import Change, Comparison
from app.formats.drawing import encode
from app.photo_cache import PREVIEW
from app.ui.shared import html as render
from detclipv2.inference.images import ImageError, open_image

COLOURS = {
    "gained": "#009E73",
    "lost": "#D55E00",
    "relabelled": "#E69F00",
    "moved": "#56B4E9",
    "same": "#BBBBBB",
}
_LABELLED = 15
"""Changes of a photo that carry their words; the others show them when pointed at."""

Corners = tuple[float, float, float, float]


def picture(result: Comparison, marked: Change | None = None) -> str:
    """The photo with its changes drawn over it, all but the `marked` one faintly.

    Every word is escaped.
    """
    if result.error:
        return render.status("error", result.error)
    try:
        image = open_image(result.path, name=result.path.name)
    except ImageError as error:
        return render.status("error", str(error))
    width, height = image.size
    image.thumbnail((PREVIEW, PREVIEW))
    data = base64.b64encode(encode(image, "JPEG")).decode()
    thick = max(width, height) / 320
    # what is asked for first, since labels go where there is room left
    ranked = sorted(result.changes, key=lambda c: c != marked)
    labelled = [c for c in ranked if c.kind != "same" or c == marked][:_LABELLED]
    size = 11 * thick
    sizes = [(_width(_words(c)) * size, 1.2 * size) for c in labelled]
    places = place_labels([c.box for c in labelled], sizes, (width, height))
    spots = dict(zip(labelled, places, strict=True))
    boxes = "".join(
        _box(c, thick * (1 + (c == marked)), spots.get(c), size, faint=marked not in (None, c))
        for c in reversed(ranked)
    )
    legend = "".join(
        f'<span class="tag" style="background:{COLOURS[kind]};color:#000">{count} {kind}</span>'
        for kind, count in result.counts().items()
        if count
    )
    return (
        f'<figure class="changes"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Changes on {escape(result.path.name)}">'
        f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
        f"{boxes}</svg><figcaption>{escape(result.path.name)} {legend}</figcaption></figure>"
    )


def place_labels(
    boxes: Sequence[Corners], sizes: Sequence[tuple[float, float]], frame: tuple[float, float]
) -> list[Corners | None]:
    """Where labels of `sizes` (width, height) go so that none covers another.

    Above their box, below it, or inside at its top or bottom, from its left or its right edge; the
    first labels choose first. Gives xyxy inside the frame (width, height), None where no place is
    free.
    """
    placed: list[Corners | None] = []
    for (x1, y1, x2, y2), (width, height) in zip(boxes, sizes, strict=True):
        spots = [
            (x, y, x + width, y + height)
            for y in (y1 - height, y2, y1, y2 - height)
            for x in (x1, x2 - width, max(0.0, min(x1, frame[0] - width)))
        ]
        free = (
            spot
            for spot in spots
            if spot[0] >= 0
            and spot[1] >= 0
            and spot[2] <= frame[0]
            and spot[3] <= frame[1]
            and not any(other is not None and _meet(spot, other) for other in placed)
        )
        placed.append(next(free, None))
    return placed


def _meet(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _width(words: str) -> float:
    """About how wide bold words are, in font sizes."""
    return sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in words)


def _words(change: Change) -> str:
    before, after = (_label(entry) for entry in (change.before, change.after))
    words = f"{before} → {after}" if before and after else before or after
    return {"gained": "+ ", "lost": "− "}.get(change.kind, "") + words


def _box(change: Change, thick: float, spot: Corners | None, size: float, *, faint: bool) -> str:
    x1, y1, x2, y2 = change.box
    colour, words = COLOURS[change.kind], escape(_words(change))
    label = ""
    if spot is not None:
        label = (
            f'<text x="{spot[0] + size / 9:.1f}" y="{spot[3] - size / 4:.1f}" '
            f'font-size="{size:.1f}" fill="{colour}" stroke="#000" '
            f'stroke-width="{size / 5:.1f}" paint-order="stroke" font-weight="600">'
            f"{words}</text>"
        )
    dash = f' stroke-dasharray="{4 * thick} {3 * thick}"' if change.kind == "lost" else ""
    shape = f'x="{x1}" y="{y1}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none"'
    opacity = ' opacity=".6"' if faint else ""
    return (
        f'<g class="{change.kind}"{opacity}>'
        f"<title>{change.kind}: {words}</title>"
        f'<rect {shape} stroke="#000" stroke-opacity=".5" stroke-width="{2 * thick:.1f}"/>'
        f'<rect {shape} stroke="{colour}" stroke-width="{thick:.1f}"{dash}/>{label}</g>'
    )


def _label(entry: tuple[str, float] | None) -> str:
    return f"{entry[0]} {entry[1]:.2f}" if entry else ""
