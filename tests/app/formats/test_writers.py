"""The writers of data sets need no run: names, and images with size and detections."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import supervision as sv

from app.box import Box
from app.formats.coco import write_coco
from app.formats.csv import TableImage, write_csv
from app.formats.detected_image import DetectedImage
from app.formats.image_kinds import BROWSER_KINDS, UPLOAD_KINDS
from app.formats.voc import write_voc
from app.formats.yolo import write_yolo
from detclipv2.datasets.image_kinds import IMAGE_KINDS, is_kind

NAMES = ("cat", "<cup>")
FOUND = sv.Detections(
    xyxy=np.array([[10, 20, 30, 60]], np.float32),
    confidence=np.array([0.5], np.float32),
    class_id=np.array([1]),
    data={"class_name": np.array(["<cup>"])},
)
IMAGES = (
    DetectedImage("a.jpg", (100, 200), FOUND),
    DetectedImage("b.png", (50, 40), sv.Detections.empty()),
)


def test_coco(tmp_path: Path) -> None:
    extra = {"a.jpg": {"picture": "pictures/a.jpg"}}
    file = write_coco(tmp_path / "coco.json", NAMES, IMAGES, {"model": "nano"}, extra)
    dataset = json.loads(file.read_text(encoding="utf-8"))
    assert [image["file_name"] for image in dataset["images"]] == ["a.jpg", "b.png"]
    assert dataset["images"][0]["picture"] == "pictures/a.jpg"
    (annotation,) = dataset["annotations"]
    assert annotation["bbox"] == [10, 20, 20, 40] and annotation["category_id"] == 2
    assert dataset["info"]["model"] == "nano"


def test_yolo(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "old.txt").write_text("0 0 0 1 1")
    folder = write_yolo(tmp_path, NAMES, IMAGES)
    index, *box = (folder / "labels" / "a.txt").read_text().split()
    assert index == "1" and [float(value) for value in box] == [0.2, 0.2, 0.2, 0.2]
    assert (folder / "labels" / "b.txt").read_text() == ""
    assert not (folder / "labels" / "old.txt").exists(), "of an earlier export"
    assert (folder / "classes.txt").read_text() == "cat\n<cup>\n"


def test_voc(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, NAMES, IMAGES)
    assert "<name>&lt;cup&gt;</name>" in (folder / "Annotations" / "a.xml").read_text()
    assert (folder / "ImageSets" / "Main" / "val.txt").read_text() == "a\nb\n"


def test_csv(tmp_path: Path) -> None:
    box = Box("<cup>", 0.5, (10.004, 20.0, 30.0, 60.0))
    images = [
        TableImage("a.jpg", 100, 200, [box], "done", ""),
        TableImage("b.png", 50, 40, [], "empty", ""),
        TableImage("c.png", None, None, [], "failed", "gone"),
    ]
    with write_csv(tmp_path / "boxes.csv", images).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["done", "empty", "failed"]
    assert (rows[0]["class"], rows[0]["x1"], rows[2]["reason"]) == ("<cup>", "10.0", "gone")


def test_kinds_of_images() -> None:
    assert UPLOAD_KINDS < BROWSER_KINDS < set(IMAGE_KINDS)
    assert is_kind("sub/A.JPG", UPLOAD_KINDS) and is_kind(Path("a.tiff"), IMAGE_KINDS)
    assert not is_kind("a.tiff", BROWSER_KINDS) and not is_kind("jpg", IMAGE_KINDS)
