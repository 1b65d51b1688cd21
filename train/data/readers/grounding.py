"""Phrase-grounding sets in the manner of Flickr30k Entities: captions whose phrases have boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detclipv2.language.concepts import load_concepts
from detclipv2.language.sentence import prompt_text
from train.data.dropped import Dropped, reporting
from train.data.sample import Boxes, Sample, boxed, clean_boxes


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase of a caption and its boxes, (N, 4) xyxy in the photo's pixels, N ≥ 1."""

    text: str
    boxes: Boxes


def read_grounding(
    annotations: Path, images: Path | None = None, *, split: str, dropped: Dropped | None = None
) -> list[Sample]:
    """One sample a photo: the phrases of all its captions, and their head nouns, as concepts.

    Raises:
        ValueError: the file has another format, or no image of `split`.
    """
    samples = []
    with reporting(dropped, annotations) as report:
        for record, phrases in _photos(annotations, split):
            named = [(phrase["phrase"], phrase["boxes"]) for phrase in phrases]
            path = (images or annotations.parent / "images") / record["file_name"]
            samples.append(grounded(path, record["width"], record["height"], named, dropped=report))
    return samples


def grounded(
    image: Path,
    width: int,
    height: int,
    phrases: Iterable[tuple[str, Sequence[Sequence[float]]]],
    *,
    heads: bool = True,
    exhaustive: bool = True,
    caption: str | None = None,
    dropped: Dropped,
) -> Sample:
    """A sample of phrases and their boxes, xywh in the photo's pixels.

    Captions name the same thing in several words ("a brown dog", "the puppy"); equal boxes become
    one box with all of them. A phrase without a box still is a concept of the photo. With `heads`
    the head noun of each phrase ("dog") is a concept too.
    """
    dictionary = load_concepts()
    named: dict[tuple[float, ...], dict[str, None]] = defaultdict(dict)
    mentioned: dict[str, None] = {}
    for phrase, boxes in phrases:
        text = prompt_text("{}", phrase)
        if not text:
            dropped.add("a phrase without words", f"{image}: {phrase!r}")
            continue
        words = dict.fromkeys((text, dictionary.head(text)) if heads else (text,))
        mentioned.update(words)
        for box in boxes:
            named[tuple(box)].update(words)
    return boxed(
        image,
        width,
        height,
        named.items(),
        mentioned=mentioned,
        exhaustive=exhaustive,
        caption=caption,
        dropped=dropped,
    )


def read_phrases(
    annotations: Path, images: Path | None = None, *, split: str
) -> list[tuple[Path, list[GroundedPhrase]]]:
    """What phrase recall is measured on: every boxed phrase of every caption, by photo."""
    found = []
    for record, phrases in _photos(annotations, split):
        named = [(phrase["phrase"], phrase["boxes"]) for phrase in phrases]
        path = (images or annotations.parent / "images") / record["file_name"]
        found.append((path, with_boxes(named, record["width"], record["height"])))
    return found


def with_boxes(
    phrases: Iterable[tuple[str, Sequence[Sequence[float]]]], width: int, height: int
) -> list[GroundedPhrase]:
    """Those of the phrases that have a usable box, xywh in the photo's pixels."""
    found = []
    for text, xywh in phrases:
        boxes, usable = clean_boxes(xywh, width, height)
        if usable.any():
            found.append(GroundedPhrase(text, boxes[usable]))
    return found


def _photos(annotations: Path, split: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for caption in data["captions"]:
            by_image[caption["image_id"]] += caption["phrases"]
        photos = [(i, by_image[i["id"]]) for i in data["images"] if i.get("split") == split]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in the Entities format: {error!r}") from error
    if not photos:
        raise ValueError(f"{annotations} has no image of split {split!r}")
    return photos
