"""COCO-format folders of photos with all their boxes, or some of their photos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test", "odd", "even")
_IDS = {"odd": 1, "even": 0}


class LabeledPhoto(NamedTuple):
    """A photo and its boxes; crowds are no boxes.

    Attributes:
        file: the picture.
        boxes: (M, 4) xyxy in pixels of the file.
        classes: (M,) index among the set's categories.
    """

    file: Path
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class LabeledSet:
    """A COCO-format folder, or some of its photos.

    Attributes:
        name: as tables show it.
        folder: with `instances.json` and `images/`.
        part: a split, or "odd" or "even" ids; empty for all photos.
    """

    name: str
    folder: Path
    part: str = ""

    @classmethod
    def parse(cls, text: str) -> LabeledSet:
        """Read FOLDER or FOLDER:PART.

        Raises:
            ValueError: an unknown part, or no data set in the folder.
        """
        folder, colon, part = text.rpartition(":")
        if not colon:
            folder, part = text, ""
        elif part not in PARTS:
            raise ValueError(f"{text!r}: the part must be one of {', '.join(PARTS)}")
        if not (Path(folder) / "instances.json").is_file():
            raise ValueError(f"{text!r}: {folder} has no instances.json")
        return cls(f"{Path(folder).name}{colon}{part}", Path(folder), part)

    def read(self) -> dict[str, Any]:
        """COCO's dictionary, cut to the part.

        Raises:
            ValueError: the part has no photo, or no box.
        """
        truth = read_truth(
            self.folder / "instances.json", None if self.part in ("", *_IDS) else self.part
        )
        if self.part in _IDS:
            images = [one for one in truth["images"] if one["id"] % 2 == _IDS[self.part]]
            kept = {one["id"] for one in images}
            boxes = [one for one in truth["annotations"] if one["image_id"] in kept]
            truth = {**truth, "images": images, "annotations": boxes}
        if not truth["images"]:
            raise ValueError(f"{self.folder} has no photo of {self.part!r}")
        if not truth["annotations"]:
            raise ValueError(f"{self.name} has no boxes: there is nothing to save")
        return truth

    def photos(self, truth: Mapping[str, Any]) -> Iterator[LabeledPhoto]:
        """Each photo of what `read` gave."""
        index = {category["id"]: k for k, category in enumerate(truth["categories"])}
        of_photo: dict[Any, list[tuple[list[float], int]]] = {}
        for one in truth["annotations"]:
            if not one.get("iscrowd"):
                x, y, width, height = one["bbox"]
                box = [x, y, x + width, y + height], index[one["category_id"]]
                of_photo.setdefault(one["image_id"], []).append(box)
        for record in truth["images"]:
            boxes = of_photo.get(record["id"], [])
            yield LabeledPhoto(
                self.folder / "images" / record["file_name"],
                np.array([box for box, _ in boxes], np.float64).reshape(-1, 4),
                np.array([k for _, k in boxes], np.int64),
            )


def prompts_of(truth: Mapping[str, Any]) -> list[str]:
    """A category's `text`, where present, is its prompt, else its `name`."""
    return [str(one.get("text") or one["name"]) for one in truth["categories"]]


def read_truth(annotations: Path, split: str | None = None) -> dict[str, Any]:
    """A COCO-format file without its outlines, cut to a split."""
    data: dict[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
    images = [i for i in data["images"] if split is None or i.get("split") == split]
    ids = {i["id"] for i in images}
    boxes = [
        {key: value for key, value in a.items() if key != "segmentation"}
        for a in data["annotations"]
        if a["image_id"] in ids
    ]
    return {"images": images, "annotations": boxes, "categories": data["categories"]}
