"""Each format's own layout, written small: boxes, names and negatives come out as documented."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.data.dropped import EXAMPLES, Dropped
from train.data.readers.coco import read_coco, read_objects365
from train.data.readers.entities import phrases_of, read_entities
from train.data.readers.goldg import read_goldg
from train.data.readers.lvis import read_lvis
from train.data.sample import Sample


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def named_boxes(sample: Sample) -> list[tuple[list[float], set[str]]]:
    names = [{c for c, on in zip(sample.concepts, row, strict=True) if on} for row in sample.labels]
    return list(zip(sample.boxes.tolist(), names, strict=True))


def box(image: int, category: int, xywh: object = (10, 20, 30, 40)) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "bbox": xywh, "iscrowd": 0}


def photo(number: int, name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 100, "height": 80, **more}


def test_bad_rows_of_a_coco_file_are_counted_by_reason_and_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "instances.json",
        {
            "images": [photo(1), {"id": 2, "file_name": "sizeless.jpg"}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                box(1, 1),
                box(1, 9),
                {"image_id": 1, "category_id": 1},
                "no object",
                box(1, 1, [1, 2]),
                box(1, 1, [1, 2, float("nan"), 4]),
                box(1, 1, None),
                box(1, 1, [200, 0, 5, 5]),
                {**box(1, 1), "iscrowd": 1},
            ],
        },
    )
    dropped = Dropped()
    (sample,) = read_coco(path, dropped=dropped)
    assert named_boxes(sample) == [([10, 20, 40, 60], {"cat"})]
    assert dropped.counts == {
        "an annotation without image, box or a category of the file": 3,
        "a box that is not four numbers": 3,
        "a box of less than a pixel inside the photo": 1,
        "an image without id, file name, width or height": 1,
    }
    assert "sizeless.jpg" in str(dropped.summary())


def test_what_is_left_out_is_logged_unless_the_caller_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    value = {"images": [photo(1)], "categories": [], "annotations": [box(1, 7)]}
    path = write(tmp_path / "instances.json", value)
    dropped = Dropped()
    with caplog.at_level(logging.WARNING):
        read_coco(path, dropped=dropped)
        assert not caplog.records and len(dropped) == 1
        read_coco(path)
    assert "instances.json: left out 1" in caplog.text


def test_reports_add_up_and_keep_few_examples() -> None:
    one, other = Dropped(), Dropped()
    for number in range(EXAMPLES + 3):
        one.add("broken", f"one {number}")
        other.add("broken", f"other {number}")
    other.add("missing", "x")
    one.merge(other.summary())
    summary = one.summary()
    assert summary["broken"]["count"] == 2 * EXAMPLES + 6
    assert len(summary["broken"]["examples"]) == EXAMPLES
    assert summary["missing"] == {"count": 1, "examples": ["x"]}


def test_objects365_finds_patches_and_splits_alternative_names(tmp_path: Path) -> None:
    value = {
        "images": [photo(1, "images/v2/patch16/objects365_v2_00908726.jpg")],
        "categories": [{"id": 1, "name": "Person"}, {"id": 2, "name": "Cabinet/shelf"}],
        "annotations": [box(1, 1), box(1, 2, [0, 0, 50, 50])],
    }
    (sample,) = read_objects365(write(tmp_path / "train.json", value), tmp_path / "photos")
    assert sample.image == tmp_path / "photos" / "patch16" / "objects365_v2_00908726.jpg"
    assert named_boxes(sample) == [
        ([10, 20, 40, 60], {"person"}),
        ([0, 0, 50, 50], {"cabinet", "shelf"}),
    ]


@pytest.fixture
def lvis_value() -> dict[str, Any]:
    return {
        "images": [
            {
                "id": 5,
                "width": 100,
                "height": 80,
                "neg_category_ids": [3, 99],
                "not_exhaustive_category_ids": [2],
                "coco_url": "http://images.cocodataset.org/train2017/000000000005.jpg",
            },
            {"id": 6, "width": 100, "height": 80},
        ],
        "categories": [
            {"id": 1, "name": "aerosol_can"},
            {"id": 2, "name": "bow_(weapon)"},
            {"id": 3, "name": "cat"},
            {"id": 4, "name": "dog"},
        ],
        "annotations": [{**box(5, 1), "id": 1}, {**box(5, 2, [0, 0, 9, 9]), "id": 2}],
    }


def test_lvis_says_which_classes_were_looked_for(
    tmp_path: Path, lvis_value: dict[str, Any]
) -> None:
    dropped = Dropped()
    path = write(tmp_path / "lvis.json", lvis_value)
    (sample,) = read_lvis(path, tmp_path, dropped=dropped)
    assert named_boxes(sample) == [
        ([10, 20, 40, 60], {"aerosol can"}),
        ([0, 0, 9, 9], {"bow (weapon)"}),
    ]
    # Not the bows, of which some have no box, and not the dog, which nobody looked for.
    assert not sample.exhaustive and sample.complete == ("aerosol can", "cat")
    assert sample.image == tmp_path / "000000000005.jpg"
    assert len(dropped) == 2  # the image without categories, and category 99
    (tmp_path / "train2017").mkdir()
    (sample,) = read_lvis(path, tmp_path)
    assert sample.image == tmp_path / "train2017" / "000000000005.jpg"


def test_goldg_phrases_are_the_captions_words(tmp_path: Path) -> None:
    caption = "a man rides a horse in a hat"
    value = {
        "images": [photo(1, "1.jpg", caption=caption), photo(2, "2.jpg", caption="nothing here")],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [
            {**box(1, 1), "tokens_positive": [[0, 5]]},
            {**box(1, 1, [50, 0, 20, 20]), "tokens_positive": [[0, 5]]},
            {**box(1, 1, [0, 0, 30, 30]), "tokens_positive": [[12, 19]]},
            {**box(1, 1, [0, 0, 30, 30]), "tokens_positive": [[0, 5], [20, 28]]},
            {**box(1, 1), "tokens_positive": [[25, 40]]},
            {**box(1, 1), "tokens_positive": []},
        ],
    }
    dropped = Dropped()
    first, second = read_goldg(write(tmp_path / "mixed.json", value), tmp_path, dropped=dropped)
    assert named_boxes(first) == [
        ([10, 20, 40, 60], {"man"}),
        ([50, 0, 70, 20], {"man"}),
        ([0, 0, 30, 30], {"horse", "man in a hat"}),  # equal boxes are one
    ]
    assert first.caption == caption and first.image == tmp_path / "1.jpg"
    assert second.concepts == () and second.boxes.shape == (0, 4)
    assert len(dropped) == 2


_XML = """<annotation><size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>1</name><name>3</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>41</xmax>
<ymax>61</ymax></bndbox></object>
<object><name>2</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>"""
_SENTENCES = """[/EN#1/people A man] plays [/EN#0/notvisual it] in [/EN#2/scene the field] .
[/EN#3/people/other The tall player] smiles .
"""


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Sentences").mkdir()
    (tmp_path / "Annotations" / "77.xml").write_text(_XML)
    (tmp_path / "Sentences" / "77.txt").write_text(_SENTENCES)
    (tmp_path / "train.txt").write_text("77\n78\n")
    return tmp_path


def test_entities_joins_sentences_and_boxes_by_chain(entities: Path) -> None:
    dropped = Dropped()
    (sample,) = read_entities(entities, split="train", dropped=dropped)
    assert sample.image == entities / "flickr30k-images" / "77.jpg"
    assert named_boxes(sample) == [([10, 20, 40, 60], {"man", "tall player", "player"})]
    assert "field" in sample.concepts and "it" not in sample.concepts
    assert list(dropped.summary()["a photo without readable boxes or sentences"]["examples"])
    (sample,) = read_entities(entities, split="train", heads=False)
    assert sample.concepts == ("man", "field", "tall player")


def test_marked_sentences() -> None:
    marked = "[/EN#12/bodyparts/people a man 's arm] at [/EN#0/notvisual each other] now"
    assert phrases_of(marked) == [("12", "a man 's arm")]


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"images": 3}'])
def test_readers_name_a_file_of_another_format(tmp_path: Path, content: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    for read in (read_objects365, read_lvis, read_goldg):
        with pytest.raises(ValueError, match=r"bad\.json is not in"):
            read(bad, tmp_path)
    with pytest.raises(ValueError, match=r"val\.txt is not there"):
        read_entities(tmp_path, split="val")
    (tmp_path / "val.txt").write_text("1 2")
    with pytest.raises(ValueError, match=r"val\.txt names no photo"):
        read_entities(tmp_path, split="val", dropped=Dropped())


def test_boxes_need_the_photos_size() -> None:
    boxes, labels = np.array([[0, 0, 5, 5]], np.float32), np.ones((1, 1), bool)
    with pytest.raises(ValueError, match="size is not known"):
        Sample(b"", 0, 0, boxes, ("a",), labels, origin="x")
