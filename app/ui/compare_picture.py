"""A photo with what changed on it between two sides, as SVG in HTML."""

from __future__ import annotations

import base64
from html import escape

from app.compare import Change, Comparison
from app.engine import PREVIEW
from app.render import encode
from app.ui import render
from detclipv2.inference.images import ImageError, open_image

COLOURS = {
    "gained": "#009E73", "lost": "#D55E00", "relabelled": "#E69F00", "moved": "#56B4E9",
    "same": "#BBBBBB",
}  # fmt: skip
_LABELLED = 15
"""Changes of a photo that carry their words; the others show them when pointed at."""


def picture(result: Comparison) -> str:
    """The photo with its changes drawn over it; every word is escaped."""
    if result.error:
        return render.status("error", result.error)
    try:
        image = open_image(result.path)
    except ImageError as error:
        return render.status("error", str(error))
    width, height = image.size
    image.thumbnail((PREVIEW, PREVIEW))
    data = base64.b64encode(encode(image, "JPEG")).decode()
    thick = max(width, height) / 320
    ranked = list(enumerate(result.changes))
    boxes = "".join(_box(c, thick, labelled=i < _LABELLED) for i, c in reversed(ranked))
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


def _box(change: Change, thick: float, *, labelled: bool) -> str:
    x1, y1, x2, y2 = change.box
    colour, size = COLOURS[change.kind], 9 * thick
    before, after = (_told(entry) for entry in (change.before, change.after))
    words = f"{before} → {after}" if before and after else before or after
    if change.kind == "same" or not labelled:
        label = ""
    else:
        sign = {"gained": "+ ", "lost": "− "}.get(change.kind, "")
        label = (
            f'<text x="{x1 + thick}" y="{max(y1 + size, size)}" font-size="{size:.1f}" '
            f'fill="{colour}" stroke="#000" stroke-width="{thick * 1.6:.1f}" '
            f'paint-order="stroke" font-weight="600">{sign}{escape(words)}</text>'
        )
    dash = f' stroke-dasharray="{4 * thick} {3 * thick}"' if change.kind == "lost" else ""
    shape = f'x="{x1}" y="{y1}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none"'
    return (
        f'<g class="{change.kind}"><title>{change.kind}: {escape(words)}</title>'
        f'<rect {shape} stroke="#000" stroke-opacity=".5" stroke-width="{2 * thick:.1f}"/>'
        f'<rect {shape} stroke="{colour}" stroke-width="{thick:.1f}"{dash}/>{label}</g>'
    )


def _told(entry: tuple[str, float] | None) -> str:
    return f"{entry[0]} {entry[1]:.2f}" if entry else ""
