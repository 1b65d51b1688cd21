"""Classification sets, a folder a class, as weak image-text pairs: ImageNet above all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from detclipv2.datasets.image_kinds import is_kind
from train.data.dropped import Dropped, reporting
from train.data.sample import Sample, pair

if TYPE_CHECKING:
    from timm.data.imagenet_info import ImageNetInfo

_WORDNET_ID = re.compile(r"n\d{8}")


def read_class_folders(folder: Path, *, dropped: Dropped | None = None) -> Iterator[Sample]:
    """Pairs of `folder/CLASS/*.jpg`, the class's name as the one concept.

    CLASS is a WordNet id (n01440764: "tench") or the name itself, its underscores read as spaces.
    Pairs are given one by one, since ImageNet has 1.3 million; sizes are not known.

    Raises:
        ValueError: no folder, or none in it.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not classes:
        raise ValueError(f"{folder} has no folders; expected one a class")
    with reporting(dropped, folder) as report:
        for path in classes:
            try:
                name = class_name(path.name)
            except KeyError:
                report.add("a folder with an unknown WordNet id", path.name)
                continue
            for photo in sorted(path.iterdir()):
                if is_kind(photo):
                    yield pair(photo, (name,))
                else:
                    report.add("a file that is no picture", str(photo))


def class_name(folder: str) -> str:
    """A class by the name of its folder; of WordNet's synonyms the first.

    Raises:
        KeyError: a WordNet id that ImageNet does not have.
    """
    if not _WORDNET_ID.fullmatch(folder):
        return " ".join(folder.replace("_", " ").split())
    # Knows the names of all 21,843 classes, whatever its subset.
    return str(_imagenet().label_name_to_description(folder)).split(",")[0].strip()


@cache
def _imagenet() -> ImageNetInfo:
    from timm.data.imagenet_info import ImageNetInfo

    return ImageNetInfo()
