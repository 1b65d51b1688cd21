"""ODinW (Li et al. 2022): many small detection sets "in the wild", laid out as Roboflow exports.

A folder a set; in it `train`, `valid` and `test`, each with its photos and
`_annotations.coco.json`. Category 0 is Roboflow's supercategory of the others and no class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detclipv2.datasets.labeled_set import read_truth
from train.data.readers.coco import read_coco
from train.data.sample import Sample

ANNOTATIONS = "_annotations.coco.json"


def clean_name(name: str) -> str:
    """A class name as words: "starfish_-_small" → "starfish small"."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def read_odinw_truth(
    folder: Path, split: str = "test", prompts: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], Path]:
    """A set to evaluate on: COCO's format with clean prompts, and the folder of its photos.

    Args:
        folder: of the set.
        split: "train", "valid" or "test".
        prompts: what to ask for instead of a name as the file has it.

    Raises:
        FileNotFoundError: the set has no such split; the message lists those it has.
        ValueError: a prompt for a class the set does not have, or no class.
    """
    truth = read_truth(_annotations(folder, split))
    used = {box["category_id"] for box in truth["annotations"]}
    parents = {c.get("supercategory") for c in truth["categories"]}
    categories = [
        c
        for c in truth["categories"]
        if c["id"] in used or not (c["id"] == 0 and c["name"] in parents)
    ]
    asked = dict(prompts or {})
    for category in categories:
        category["text"] = asked.pop(category["name"], None) or clean_name(category["name"])
    if asked or not categories:
        names = ", ".join(c["name"] for c in categories) or "none"
        raise ValueError(f"{folder.name}: no class {', '.join(asked)}; it has {names}")
    return {**truth, "categories": categories}, folder / split


def read_odinw(folder: Path, split: str = "train") -> list[Sample]:
    """A set to train on; the arguments and errors are those of `read_odinw_truth`."""
    file = _annotations(folder, split)
    return [
        replace(sample, concepts=tuple(map(clean_name, sample.concepts)))
        for sample in read_coco(file, file.parent)
    ]


def _annotations(folder: Path, split: str) -> Path:
    file = folder / split / ANNOTATIONS
    if not file.is_file():
        found = ", ".join(sorted(p.parent.name for p in folder.glob(f"*/{ANNOTATIONS}")))
        raise FileNotFoundError(f"no {file}; splits of {folder.name}: {found or 'none'}")
    return file
