"""Boxes on a picture: supervision's annotators in colours by the order of the list."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFont

if TYPE_CHECKING:
    import supervision as sv

PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#7F5FD0",
    "#44AA99",
    "#AA4499",
    "#999933",
    "#DDCC77",
    "#88CCEE",
    "#CC6677",
    "#117733",
    "#332288",
)
"""Okabe and Ito's colours and Tol's muted ones: told apart under the common colour blindnesses."""

PAGE_LABELS = 25
"""Boxes of a picture on the page that carry their words: more bury the photo, and take longer to
draw than all else that a moved threshold does. Colours and tables show the others."""
_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "msyh.ttc",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    "arial.ttf",
)


def colour_of(index: int) -> str:
    """The colour of a list's class number `index`, "#RRGGBB".

    The first 16 classes have colours of their own; those of later ones are lighter, then darker,
    and after 48 begin again. Every box carries its words as well.
    """
    base, tone = PALETTE[index % len(PALETTE)], index // len(PALETTE) % 3
    if tone == 0:
        return base
    other, share = (255, 0.5) if tone == 1 else (0, 0.4)
    channels = [int(base[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + share * (other - c)):02X}" for c in channels)


def text_colour_on(colour: str) -> str:
    """Black or white, whichever has the higher WCAG contrast on `colour` ("#RRGGBB")."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#FFFFFF"


def draw(
    image: Image.Image, detections: sv.Detections, most_labels: int | None = None
) -> Image.Image:
    """A copy of `image` with boxes and labels ("cat 0.83"); line and font grow with the picture.

    Args:
        image: upright RGB picture.
        detections: xyxy in this picture's pixels, with `class_id`, and `class_name` in `data`.
        most_labels: so many boxes carry their words, the best ones; None for all.
    """
    import supervision as sv

    scene = image.convert("RGB")
    if scene is image:
        scene = image.copy()
    scores = detections.confidence
    if len(detections) == 0 or scores is None or detections.class_id is None:
        return scene
    # the best box last, so that its label lies on top where labels meet
    order = np.argsort(scores, kind="stable")
    names = [str(name) for name in np.asarray(detections.data["class_name"])[order]]
    labels = [f"{name} {score:.2f}" for name, score in zip(names, scores[order], strict=True)]
    colours = [colour_of(int(index)) for index in detections.class_id[order]]
    detections = sv.Detections(detections.xyxy[order])
    inks = [text_colour_on(colour) for colour in colours]
    fill, text = sv.ColorPalette.from_hex(colours), sv.ColorPalette.from_hex(inks)
    long_side = max(scene.size)
    thickness = max(2, round(long_side / 280))
    font_size = max(12, round(long_side / 44))
    by_row = sv.ColorLookup.INDEX
    rim = sv.BoxAnnotator(color=text, thickness=thickness + 2, color_lookup=by_row)
    boxes = sv.BoxAnnotator(color=fill, thickness=thickness, color_lookup=by_row)
    first = 0 if most_labels is None else max(0, len(labels) - most_labels)
    tags = sv.RichLabelAnnotator(
        color=sv.ColorPalette.from_hex(colours[first:]),
        text_color=sv.ColorPalette.from_hex(inks[first:]),
        color_lookup=by_row,
        font_path=_font_for("".join(sorted(set("".join(labels))))),
        font_size=font_size,
        text_padding=max(3, font_size // 4),
        smart_position=True,
    )
    # a thin rim of the opposite tone keeps a colour visible on a photo of the same colour
    scene = boxes.annotate(rim.annotate(scene, detections), detections)
    named = detections[np.arange(first, len(labels))]
    assert isinstance(named, sv.Detections)
    return tags.annotate(scene, named, labels=labels[first:])


def encode(image: Image.Image, kind: str) -> bytes:
    """`image` as file content; `kind` is "PNG" (lossless) or "JPEG" (quality 90)."""
    stream = io.BytesIO()
    if kind == "JPEG":
        image.save(stream, "JPEG", quality=90)
    else:
        image.save(stream, kind, compress_level=4)
    return stream.getvalue()


@lru_cache(maxsize=64)
def _font_for(characters: str) -> str | None:
    """File of the font with the most of `characters`; None (Pillow's own font) for plain Latin."""
    if all(ord(character) < 0x180 for character in characters):
        return None
    best: tuple[int, str] | None = None
    for name in _FONTS:
        try:
            font = ImageFont.truetype(name, 20)
        except OSError:
            continue
        missing = _missing(font, characters)
        if best is None or missing < best[0]:
            best = (missing, str(font.path))
        if missing == 0:
            break
    return None if best is None else best[1]


def _missing(font: ImageFont.FreeTypeFont, characters: str) -> int:
    """How many characters fall back to the font's box for "no such glyph"."""
    no_glyph = bytes(font.getmask("\U0010fffe"))
    return sum(bytes(font.getmask(c)) == no_glyph for c in characters if not c.isspace())
