"""The COCO JSON is valid by the format's own rules and by a reader that is not ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from hypothesis import given
from hypothesis import strategies as st

from app.formats import coco
from app.formats.atomic import write_bytes, write_json


def detections(
    boxes: Sequence[Sequence[float]], classes: list[int], scores: list[float]
) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        class_id=np.array(classes, dtype=int),
        confidence=np.array(scores, dtype=np.float32),
    )


def test_categories_keep_the_users_order_and_words() -> None:
    names = ["zebra", "a red mug", "Ärmel"]
    dataset = coco.CocoDataset(names).to_dict()
    assert [c["name"] for c in dataset["categories"]] == names
    assert [c["id"] for c in dataset["categories"]] == [1, 2, 3]


def test_a_box_becomes_xywh_with_its_area_and_class() -> None:
    dataset = coco.CocoDataset(["cat", "dog"])
    dataset.add("a.jpg", (100, 80), detections([[10, 20, 30, 60]], [1], [0.75]))
    assert dataset.to_dict()["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "bbox": [10.0, 20.0, 20.0, 40.0],
            "area": 800.0,
            "iscrowd": 0,
            "score": 0.75,
            "segmentation": [[10.0, 20.0, 10.0, 60.0, 30.0, 60.0, 30.0, 20.0]],
        }
    ]


def test_an_image_without_boxes_is_listed() -> None:
    dataset = coco.CocoDataset(["cat"])
    dataset.add("empty.jpg", (5, 4), sv.Detections.empty())
    value = dataset.to_dict()
    assert value["images"] == [{"id": 1, "file_name": "empty.jpg", "width": 5, "height": 4}]
    assert value["annotations"] == []


def test_boxes_are_clipped_and_empty_ones_left_out() -> None:
    dataset = coco.CocoDataset(["cat"])
    boxes = [[-5, -5, 200, 10], [50, 50, 50, 60], [300, 0, 400, 10]]
    dataset.add("a.jpg", (100, 80), detections(boxes, [0, 0, 0], [0.9, 0.8, 0.7]))
    assert [a["bbox"] for a in dataset.annotations] == [[0.0, 0.0, 100.0, 10.0]]


def test_a_class_outside_the_names_is_refused() -> None:
    dataset = coco.CocoDataset(["cat"])
    with pytest.raises(ValueError, match="class_id 1 is outside the 1 names"):
        dataset.add("a.jpg", (9, 9), detections([[0, 0, 5, 5]], [1], [0.5]))


coordinate = st.floats(-50, 700, width=32)


@given(
    size=st.tuples(st.integers(1, 640), st.integers(1, 640)),
    boxes=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6),
)
def test_every_written_box_lies_in_its_image(
    size: tuple[int, int], boxes: list[tuple[float, float, float, float]]
) -> None:
    ordered: list[list[float]] = [
        [min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in boxes
    ]
    dataset = coco.CocoDataset(["cat"])
    dataset.add("a.jpg", size, detections(ordered, [0] * len(boxes), [0.5] * len(boxes)))
    for annotation in dataset.annotations:
        x, y, w, h = annotation["bbox"]
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= size[0] + 0.01
        assert y + h <= size[1] + 0.01
        assert annotation["area"] == pytest.approx(w * h, abs=0.01)
    json.dumps(dataset.to_dict(), allow_nan=False)


def test_another_reader_gets_the_same_boxes_back(tmp_path: Path) -> None:
    from faster_coco_eval import COCO

    dataset = coco.CocoDataset(["cat", "dog"], {"model": "tiny"})
    boxes = [[1.5, 2.25, 30.75, 40.5], [5.0, 6.0, 7.0, 8.0]]
    dataset.add("a.jpg", (100, 80), detections(boxes, [0, 1], [0.5, 0.25]))
    dataset.add("b.jpg", (10, 10), sv.Detections.empty())
    write_json(tmp_path / "d.json", dataset.to_dict())
    read = COCO(str(tmp_path / "d.json"))
    assert read.getCatIds(catNms=["dog"]) == [2]
    assert read.getImgIds() == [1, 2]
    assert [a["bbox"] for a in read.loadAnns(read.getAnnIds(imgIds=[1]))] == [
        [1.5, 2.25, 29.25, 38.25],
        [5.0, 6.0, 2.0, 2.0],
    ]
    assert read.getAnnIds(imgIds=[2]) == []


def test_supervision_reads_the_file(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (100, 80)).save(tmp_path / "a.jpg")
    dataset = coco.CocoDataset(["cat", "dog"])
    dataset.add("a.jpg", (100, 80), detections([[10, 20, 30, 60]], [1], [0.75]))
    write_json(tmp_path / "d.json", dataset.to_dict())
    read = sv.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "d.json"))
    (_, _, found) = next(iter(read))
    np.testing.assert_allclose(found.xyxy, [[10, 20, 30, 60]])
    assert found.class_id is not None
    assert read.classes[int(found.class_id[0])] == "dog"


def test_writing_replaces_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "new" / "d.json"
    write_json(target, {"a": 1})
    write_json(target, {"a": "ü"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": "ü"}
    assert [p.name for p in target.parent.iterdir()] == ["d.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "d.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    with pytest.raises(TypeError):
        write_bytes(target, "text")  # type: ignore[arg-type]
    assert json.loads(target.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["d.json"]
