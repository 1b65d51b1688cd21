"""A data set of coloured rectangles, made anew: real files, real boxes, nothing borrowed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from train.data.readers.ov_mini import BOXED, DEVELOPMENT, TAGGED, ZERO_SHOT

PHRASES = ("the moon", "a kite", "a cup", "a dog", "two trees", "a bicycle", "a guitar", "a shoe")
"""Of boxes in flickr8k's place: unlike each other, and other ones in the next photo."""
COLOURS = {"red box": (220, 40, 40), "green box": (40, 200, 60), "blue box": (40, 60, 220)}


def draw_set(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """`count` photos of rectangles under `folder`, as COCO's `instances.json`; its path."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        width, height = [(96, 72), (72, 96), (80, 80)][number % 3]
        photo = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(90, 160, 3)))
        pen = ImageDraw.Draw(photo)
        for _ in range(int(rng.integers(1, 4))):
            kind = int(rng.integers(0, 3))
            side = rng.integers(14, 34, 2)
            x, y = (int(rng.integers(0, s - d)) for s, d in zip((width, height), side, strict=True))
            w, h = map(int, side)
            pen.rectangle((x, y, x + w - 1, y + h - 1), fill=list(COLOURS.values())[kind])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": kind + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        name = f"drawn {number:03d}.png"
        photo.save(folder / "images" / name)
        images.append(
            {
                "id": number + 1,
                "file_name": name,
                "width": width,
                "height": height,
                "split": "val" if number % 4 == 3 else "train",
            }
        )
    categories = [{"id": i + 1, "name": n.split()[0], "text": n} for i, n in enumerate(COLOURS)]
    path = folder / "instances.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`instances.json` of twelve drawn photos."""
    return draw_set(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def ov_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as OV-mini, of drawn photos."""
    root = tmp_path_factory.mktemp("ov_mini")
    for seed, source in enumerate((*BOXED, DEVELOPMENT, *ZERO_SHOT)):
        draw_set(root / source, count=4, seed=seed)
    photos = json.loads(draw_set(root / "flickr8k", count=8, seed=99).read_text())
    captions = [
        {"image_id": image["id"], "caption": "boxes .", "phrases": []} for image in photos["images"]
    ]
    for box in photos["annotations"]:
        text = PHRASES[(box["image_id"] + box["category_id"]) % len(PHRASES)]
        captions[box["image_id"] - 1]["phrases"].append({"phrase": text, "boxes": [box["bbox"]]})
    grounding = {"images": photos["images"], "captions": captions}
    (root / "flickr8k" / "grounding.json").write_text(json.dumps(grounding))
    for seed, source in enumerate(TAGGED):
        drawn = json.loads(draw_set(root / source, count=3, seed=seed).read_text())
        drawn["annotations"] = [{"image_id": i, "category_id": 1} for i in (1, 2, 3)]
        for image in drawn["images"]:
            image["split"] = "train"
        (root / source / "tags.json").write_text(json.dumps(drawn))
    for source in ("flickr8k", "grocery_iconic"):
        images = json.loads((root / source / "instances.json").read_text())["images"]
        value = {
            "images": [{**image, "split": "train"} for image in images],
            "annotations": [{"image_id": 1, "caption": "two zebras ."}],
        }
        (root / source / "captions.json").write_text(json.dumps(value))
    return root
