"""OV-mini: 14,800 small photos for training and judging a small open-vocabulary detector.

A folder a source, each with `images/` and COCO-format `instances.json` or Entities-format
`grounding.json`. Only what stands in `BOXED` and flickr8k's train split is ever trained on.
"""

from __future__ import annotations

from pathlib import Path

from train.data.coco import read_coco
from train.data.grounding import read_grounding
from train.data.sample import Sample
from train.data.tags import read_tags

BOXED = {
    "groceries25": 1.0, "indonesian_food": 1.0, "animals7": 3.0, "fod_a": 0.7, "weapons": 1.5,
    "amenities": 6.0, "gtea_kitchen": 2.0, "indoor_map": 5.0,
}  # fmt: skip
"""Detection sets that are trained on, and how often an epoch shows each photo."""
SPARSE = ("amenities", "gtea_kitchen", "indoor_map")
"""Sets that do not box all they show: they teach by their boxes only."""
TAGGED = ("imagenet1k", "caltech101", "grocerystore", "grocery_iconic", "clothing")
"""Sets with image-level names that may be trained on."""
DEVELOPMENT = "coco_dev"
ZERO_SHOT = ("aquarium", "kangaroo", "fruit3", "playing_cards", "potholes", "traffic2")
"""Sets that are never trained on."""


def boxed_samples(root: Path) -> tuple[list[Sample], list[float]]:
    """All photos with boxes that may be trained on, and how often an epoch shows each.

    Raises:
        FileNotFoundError: `root` lacks a source.
    """
    samples = read_grounding(root / "flickr8k" / "grounding.json", split="train")
    repeats = [1.0] * len(samples)
    for source, repeat in BOXED.items():
        found = read_coco(
            root / source / "instances.json", split="train",
            exhaustive=False if source in SPARSE else None,
        )  # fmt: skip
        samples += found
        repeats += [repeat] * len(found)
    return samples, repeats


def all_training_samples(root: Path) -> tuple[list[Sample], list[float]]:
    """The boxed photos and the tagged ones, each once an epoch."""
    samples, _ = boxed_samples(root)
    for source in TAGGED:
        samples += read_tags(root / source / "tags.json")
    return samples, [1.0] * len(samples)


def training_texts(root: Path) -> list[Path]:
    """Files of captions and image-level names that may be trained on."""
    files = [root / "flickr8k" / "captions.json", root / "grocery_iconic" / "captions.json"]
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
    "tf_efficientnet_lite0 weights": "Apache-2.0; ImageNet terms, non-commercial research",
    "all-MiniLM-L6-v2 (text tower, not stored here)": "Apache-2.0",
}
"""Sources of the boxes, of the photos that only `train.distill` looks at, and terms as known."""
