"""Flickr30k Entities as its authors publish it.

A folder with `Annotations/ID.xml`, `Sentences/ID.txt`, and `train.txt`, `val.txt`, `test.txt` of
ids. A sentence marks its phrases: "[/EN#137645/people A man] rides [/EN#0/notvisual it] ."; the
XML gives the boxes of each chain (the number), of which several phrases can be members.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from train.data.dropped import Dropped, reporting
from train.data.readers.grounding import grounded
from train.data.sample import Sample

_PHRASE = re.compile(r"\[/EN#(\d+)((?:/\w+)+) ([^\]]*)\]")
_Photo = tuple[Path, int, int, list[tuple[str, list[list[float]]]]]


def read_entities(
    folder: Path,
    images: Path | None = None,
    *,
    split: str,
    heads: bool = True,
    dropped: Dropped | None = None,
) -> list[Sample]:
    """One sample a photo: the visual phrases of all its captions as concepts.

    Args:
        folder: of the annotations.
        images: folder of the photos, by default `flickr30k-images` in `folder`.
        split: the ids of `SPLIT.txt`.
        heads: add the head noun of each phrase as a concept.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: no list of ids of that split, or no usable photo in it; both name the file.
    """
    with reporting(dropped, folder) as report:
        return [
            grounded(path, width, height, phrases, heads=heads, dropped=report)
            for path, width, height, phrases in _photos(folder, images, split, report)
        ]


def phrases_of(sentence: str) -> list[tuple[str, str]]:
    """(chain, phrase) of a marked sentence, without those marked as not visual."""
    found = _PHRASE.findall(sentence)
    return [(chain, text.strip()) for chain, kinds, text in found if "/notvisual" not in kinds]


def read_boxes(xml: Path) -> tuple[int, int, dict[str, list[list[float]]]]:
    """Width and height of the photo, and xywh in its pixels by chain.

    Raises:
        ValueError: another format; the message does not name the file.
    """
    try:
        root = ET.parse(xml).getroot()
        width, height = (int(_text(root, f"size/{side}")) for side in ("width", "height"))
        boxes: dict[str, list[list[float]]] = defaultdict(list)
        for thing in root.iter("object"):
            box = thing.find("bndbox")
            if box is None:  # a scene, or not visible
                continue
            # Counted from 1; the authors' own reader subtracts 1 from all four.
            left, top, right, bottom = (
                float(_text(box, side)) - 1 for side in ("xmin", "ymin", "xmax", "ymax")
            )
            for name in thing.iter("name"):  # one box can be of several chains
                boxes[(name.text or "").strip()].append([left, top, right - left, bottom - top])
    except ET.ParseError as error:
        raise ValueError(f"no XML ({error})") from error
    return width, height, boxes


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return text


def _photos(folder: Path, images: Path | None, split: str, dropped: Dropped) -> Iterator[_Photo]:
    listed = folder / f"{split}.txt"
    if not listed.is_file():
        raise ValueError(f"{listed} is not there; it lists the ids of split {split!r}")
    usable = 0
    for name in listed.read_text(encoding="utf-8").split():
        try:
            width, height, boxes = read_boxes(folder / "Annotations" / f"{name}.xml")
            text = (folder / "Sentences" / f"{name}.txt").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            dropped.add("a photo without readable boxes or sentences", f"{name}: {error}")
            continue
        usable += 1
        phrases = [
            (phrase, boxes.get(chain, []))
            for sentence in text.splitlines()
            for chain, phrase in phrases_of(sentence)
        ]
        yield (images or folder / "flickr30k-images") / f"{name}.jpg", width, height, phrases
    if not usable:
        raise ValueError(f"{listed} names no photo with boxes and sentences")
