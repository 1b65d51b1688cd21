"""Captioned photos as cards: their phrases and the boxes these found. Every word is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from typing import NamedTuple

from app.browse.records import AlignedPhoto
from app.formats.drawing import colour_of, encode, text_colour_on
from app.ui.shared import html as render
from detclipv2.datasets.captions import Captioned
from detclipv2.inference.images import ImageError, ImageSource, open_image

_THUMB = 260


class Found(NamedTuple):
    """A phrase on a card: its evidence, its box in the photo's pixels, and whether it is there."""

    text: str
    evidence: float
    box: tuple[float, float, float, float]
    here: bool = True


def cards(photos: Sequence[AlignedPhoto], least: float) -> str:
    """The gallery; a phrase below `least` evidence is shown as not there."""
    if not photos:
        return render.status("hint", "No photo passes the filter.")
    return gallery(
        card(
            photo.photo.caption,
            f"{photo.photo.name} · mean evidence {photo.evidence:.2f}",
            _kept(photo.photo),
            photo.size,
            [Found(p.text, p.evidence, p.box, p.evidence >= least) for p in photo.phrases],
            opens=photo.id,
        )
        for photo in photos
    )


def gallery(shown: Iterable[str]) -> str:
    """Cards beside each other."""
    return f'<div class="cards">{"".join(shown)}</div>'


def card(
    caption: str,
    note: str,
    picture: str,
    size: tuple[int, int],
    phrases: Sequence[Found],
    *,
    opens: int | None = None,
) -> str:
    """One photo.

    Args:
        caption: its text.
        note: small, below the phrases.
        picture: from `thumbnail`; empty where the photo is gone.
        size: width and height that the boxes are of.
        phrases: in the caption's order, which gives them their colours.
        opens: makes the card a button with this number.
    """
    width, height = (max(1, side) for side in size)
    shapes, words = [], []
    for index, phrase in enumerate(phrases):
        colour = colour_of(index)
        x1, y1, x2, y2 = phrase.box
        style, gone = f"border:1px dashed {colour}", " not-here"
        if phrase.here:
            ink, gone = text_colour_on(colour), ""
            style = f"background:{colour};color:{ink};border-color:{colour}"
            shapes.append(
                f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
                f'fill="none" stroke="{colour}" stroke-width="{max(width, height) / 110:.1f}"/>'
            )
        words.append(
            f'<span class="tag{gone}" style="{style}" title="evidence {phrase.evidence:.2f}">'
            f"{escape(phrase.text)} {phrase.evidence:+.1f}</span>"
        )
    drawn = f'<image href="{picture}" width="100%" height="100%"/>'
    if not picture:
        drawn = '<text x="8" y="24">the file is gone</text>'
    tag, attributes = "div", ""
    if opens is not None:
        tag, attributes = "button", f' data-photo="{opens}" title="Open in Align"'
    return (
        f'<{tag} class="card"{attributes}><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(caption)}">{drawn}{"".join(shapes)}</svg><p>{escape(caption)}</p>'
        f"<div>{''.join(words)}</div><small>{escape(note)}</small></{tag}>"
    )


def thumbnail(photo: ImageSource) -> str:
    """A small copy as a data address; empty where the photo cannot be read."""
    try:
        image = open_image(photo)
    except (ImageError, OSError):
        return ""
    image.thumbnail((_THUMB, _THUMB))
    return "data:image/jpeg;base64," + base64.b64encode(encode(image, "JPEG")).decode()


@lru_cache(maxsize=600)
def _kept(photo: Captioned) -> str:
    """Filters show the same photos again and again."""
    try:
        return thumbnail(photo.read())
    except OSError:  # the tar is gone
        return ""
