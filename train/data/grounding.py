"""Phrase-grounding sets in the manner of Flickr30k Entities: captions whose phrases have boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detclipv2.language.concepts import load_concepts
from detclipv2.language.embeddings import prompt_text
from train.data.sample import Boxes, Sample, clean_boxes


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase of a caption and its boxes, (N, 4) xyxy in the photo's pixels, N ≥ 1."""

    text: str
    boxes: Boxes


def read_grounding(annotations: Path, images: Path | None = None, *, split: str) -> list[Sample]:
    """One sample a photo: the phrases of all its captions, and their head nouns, as concepts.

    Captions name the same thing in several words ("a brown dog", "the puppy"); equal boxes become
    one box with all of them. A phrase without a box still is a concept of the photo.

    Raises:
        ValueError: the file has another format, or no image of `split`.
    """
    concepts_of = load_concepts()
    samples = []
    for record, phrases in _photos(annotations, split):
        width, height = record["width"], record["height"]
        named: dict[tuple[float, ...], dict[str, None]] = defaultdict(dict)
        mentioned: dict[str, None] = {}
        for phrase in phrases:
            text = prompt_text("{}", phrase["phrase"])
            if not text:
                continue
            words = dict.fromkeys((text, concepts_of.head(text)))
            mentioned.update(words)
            for box in phrase["boxes"]:
                named[tuple(box)].update(words)
        boxes, usable = clean_boxes(list(named), width, height)
        concepts = tuple(mentioned)
        labels = np.array([[c in words for c in concepts] for words in named.values()], dtype=bool)
        labels = labels.reshape(len(named), len(concepts))
        path = (images or annotations.parent / "images") / record["file_name"]
        samples.append(Sample(path, width, height, boxes[usable], concepts, labels[usable]))
    return samples


def read_phrases(
    annotations: Path, images: Path | None = None, *, split: str
) -> list[tuple[Path, list[GroundedPhrase]]]:
    """What phrase recall is measured on: every boxed phrase of every caption, by photo."""
    found = []
    for record, phrases in _photos(annotations, split):
        boxed = []
        for phrase in phrases:
            boxes, usable = clean_boxes(phrase["boxes"], record["width"], record["height"])
            if usable.any():
                boxed.append(GroundedPhrase(phrase["phrase"], boxes[usable]))
        path = (images or annotations.parent / "images") / record["file_name"]
        found.append((path, boxed))
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
