"""OV-mini: 14,800 small photos for training and judging a small open-vocabulary detector.

A folder a source, each with `images/` and COCO-format `instances.json` or Entities-format
`grounding.json`. Only what stands in `BOXED` and flickr8k's train split is ever trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.data.readers.caption_phrases import kept_caption_concepts, with_concepts
from train.data.readers.captions import read_captions
from train.data.readers.coco import read_coco
from train.data.readers.grounding import read_grounding
from train.data.readers.tags import read_tags
from train.data.sample import Sample

BOXED = {
    "groceries25": 1.0,
    "indonesian_food": 1.0,
    "animals7": 3.0,
    "fod_a": 0.7,
    "weapons": 1.5,
    "amenities": 6.0,
    "gtea_kitchen": 2.0,
    "indoor_map": 5.0,
}
"""Detection sets that are trained on, and how often an epoch shows each photo."""
SPARSE = ("amenities", "gtea_kitchen", "indoor_map")
"""Sets that do not box all they show: they teach by their boxes only."""
CAPTIONED = ("flickr8k", "grocery_iconic")
"""Sets whose captions may be trained on."""
TAGGED = ("imagenet1k", "caltech101", "grocerystore", "grocery_iconic", "clothing")
"""Sets with image-level names that may be trained on."""
DEVELOPMENT = "coco_dev"
PSEUDO_BOXES = "pseudo_boxes.json"
"""In a run's folder: boxes that train.nano.pseudo_boxes found for photos with a class name."""
ZERO_SHOT = ("aquarium", "kangaroo", "fruit3", "playing_cards", "potholes", "traffic2")
"""Sets that are never trained on."""


def detection_samples(root: Path, _: Path = Path()) -> tuple[list[Sample], list[float]]:
    """Photos with boxed classes that may be trained on, and how often an epoch shows each.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    samples: list[Sample] = []
    repeats: list[float] = []
    for source, repeat in BOXED.items():
        found = read_coco(
            root / source / "instances.json",
            split="train",
            exhaustive=False if source in SPARSE else None,
        )
        samples += found
        repeats += [repeat] * len(found)
    return samples, repeats


def grounding_samples(root: Path, _: Path = Path()) -> tuple[list[Sample], list[float]]:
    """Photos with boxed phrases that may be trained on, each once an epoch.

    Raises:
        FileNotFoundError: `root` lacks the source.
    """
    samples = read_grounding(root / "flickr8k" / "grounding.json", split="train")
    return samples, [1.0] * len(samples)


def pair_samples(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    """Captions with their noun phrases, and photos with a class, each once an epoch.

    Args:
        root: of the sources.
        cache: folder where the captions' phrases are kept, since extracting them takes a minute.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    captioned: list[Sample] = []
    for source in CAPTIONED:
        captioned += read_captions(root / source / "captions.json", split="train")
    phrases = kept_caption_concepts(
        [sample.caption or "" for sample in captioned], cache / "caption_phrases.json"
    )
    samples = [with_concepts(s, found) for s, found in zip(captioned, phrases, strict=True)]
    samples += tag_samples(root)
    return samples, [1.0] * len(samples)


def tag_samples(root: Path) -> list[Sample]:
    """Photos with a class name that may be trained on.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    return [s for source in TAGGED for s in read_tags(root / source / "tags.json")]


def pseudo_boxed_samples(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    """Photos with a class name and the box that a detector found for it, each once an epoch.

    Args:
        root: of the sources.
        cache: folder with what train.nano.pseudo_boxes made.

    Raises:
        FileNotFoundError: it was not made.
        ValueError: the file has another format.
    """
    file = cache / PSEUDO_BOXES
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing; make it: "
            f"python -m train.nano.pseudo_boxes CHECKPOINT {root} {file}"
        )
    samples = read_coco(file, root, exhaustive=False, names=_names)
    return samples, [1.0] * len(samples)


def _names(category: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, category["names"])))


def boxed_samples(root: Path, _: Path = Path()) -> tuple[list[Sample], list[float]]:
    """All photos with boxes that may be trained on, and how often an epoch shows each.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    phrases, once = grounding_samples(root)
    classes, repeats = detection_samples(root)
    return phrases + classes, once + repeats


def photos_by_text(root: Path) -> Counter[str]:
    """In how many of `boxed_samples` each name or phrase is a concept, in small letters.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    samples, _ = boxed_samples(root)
    return Counter(text.lower() for sample in samples for text in sample.concepts)


def training_texts(root: Path) -> list[Path]:
    """Files of captions and image-level names that may be trained on."""
    files = [root / source / "captions.json" for source in CAPTIONED]
    return files + [root / source / "tags.json" for source in TAGGED]


TERMS = {
    "flickr8k": "Flickr terms, research only; Flickr30k Entities boxes: research",
    "groceries25": "academic",
    "indonesian_food": "CC BY 4.0 (claimed)",
    "animals7": "CC BY 4.0 (claimed)",
    "fod_a": "academic",
    "weapons": "CC BY 4.0 (claimed)",
    "amenities": "CC BY 4.0 (claimed)",
    "gtea_kitchen": "academic",
    "indoor_map": "unstated",
    "imagenet1k": "ImageNet terms, non-commercial research",
    "caltech101": "CC BY 4.0 (claimed)",
    "grocerystore, grocery_iconic": "MIT",
    "clothing": "free use",
    "EfficientNet-Lite0 and Lite2 weights": "Apache-2.0; ImageNet terms, non-commercial research",
    "all-MiniLM-L6-v2 (text tower, not stored here)": "Apache-2.0",
}
"""Sources of the boxes and of pretrained parts, and terms as known."""
