"""Readers of boxes, samples, and transforms that boxes follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.data.samples import GREY, sample_of
from train.data.readers.coco import read_coco
from train.data.readers.grounding import read_grounding, read_phrases
from train.data.sample import Sample, clean_boxes
from train.data.sampler import BatchConfig, Sampler
from train.data.transforms import Augmentation, cells, drop_concepts, mosaic, random_view


def test_coco_boxes_become_corners_and_text_becomes_the_concept(drawn_set: Path) -> None:
    truth = json.loads(drawn_set.read_text())
    samples = read_coco(drawn_set, split="train")
    assert len(samples) == 9
    first = samples[0]
    own = [a for a in truth["annotations"] if a["image_id"] == 1]
    x, y, w, h = own[0]["bbox"]
    assert first.boxes[0].tolist() == [x, y, x + w, y + h]
    assert first.concepts[int(first.labels[0].argmax())].endswith(" box")
    assert first.image.is_file() and first.exhaustive
    assert not read_coco(drawn_set, exhaustive=False)[0].exhaustive


def test_readers_name_the_file_that_is_wrong(tmp_path: Path, drawn_set: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    with pytest.raises(ValueError, match=r"bad\.json is not in COCO format"):
        read_coco(bad)
    with pytest.raises(ValueError, match=r"bad\.json is not in the Entities format"):
        read_grounding(bad, split="train")
    with pytest.raises(ValueError, match="no image of split 'nowhere'"):
        read_coco(drawn_set, split="nowhere")


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    box, other = [10, 10, 30, 20], [50, 5, 20, 60]
    caption = "A brown dog chases the puppy near a lake ."
    phrases = [
        {"phrase": "A brown dog", "boxes": [box]},
        {"phrase": "the puppy", "boxes": [box, other]},
        {"phrase": "a lake", "boxes": []},
    ]
    data = {
        "images": [{"id": 7, "file_name": "dog.png", "width": 100, "height": 80, "split": "train"}],
        "captions": [{"image_id": 7, "caption": caption, "phrases": phrases}],
    }
    path = tmp_path / "grounding.json"
    path.write_text(json.dumps(data))
    return path


def test_phrases_of_one_box_are_its_names_with_their_heads(entities: Path) -> None:
    (sample,) = read_grounding(entities, split="train")
    assert sample.boxes.tolist() == [[10, 10, 40, 30], [50, 5, 70, 65]]
    names = [{c for c, on in zip(sample.concepts, row, strict=True) if on} for row in sample.labels]
    assert names == [{"brown dog", "dog", "puppy"}, {"puppy"}]
    assert "lake" in sample.concepts  # mentioned, though it has no box
    ((path, phrases),) = read_phrases(entities, split="train")
    assert path.name == "dog.png"
    assert [(p.text, len(p.boxes)) for p in phrases] == [("A brown dog", 1), ("the puppy", 2)]


def test_boxes_are_cut_at_the_border_and_slivers_go() -> None:
    boxes, usable = clean_boxes([[-5, -5, 20, 20], [99.5, 0, 10, 10], [0, 0, 0, 5]], 100, 80)
    assert boxes[0].tolist() == [0, 0, 15, 15]
    assert usable.tolist() == [True, False, False]
    assert clean_boxes([], 10, 10)[0].shape == (0, 4)


@pytest.mark.parametrize("wrong", [{"labels": np.ones((1, 2), bool)}, {"concepts": ("a", "a")}])
def test_a_sample_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {
        "image": Path("x.png"),
        "width": 9,
        "height": 9,
        "boxes": np.array([[0, 0, 5, 5]], np.float32),
        "concepts": ("a",),
        "labels": np.ones((1, 1), bool),
    }
    with pytest.raises(ValueError, match=r"x\.png"):
        Sample(**{**values, **wrong})  # type: ignore[arg-type]


@given(seed=st.integers(0, 10_000))
def test_boxes_follow_their_pixels_through_every_transform(seed: int) -> None:
    """A white square on black: after scale, crop and flip its box still encloses just the white."""
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(0, 70)), int(rng.integers(0, 50))
    image = np.zeros((80, 100, 3), np.uint8)
    image[y : y + 24, x : x + 24] = 255
    still_light = Augmentation(light=0.0, visible=0.0)
    view = random_view(
        sample_of([[x, y, x + 24, y + 24]]), image, (64, 64), still_light, rng, (0, 0, 0)
    )
    white = np.argwhere(view.pixels[:, :, 0] > 127)
    if len(view.boxes) == 0:
        assert len(white) < 0.1 * 64 * 64
        return
    left, top, right, bottom = view.boxes[0]
    assert abs(white[:, 1].min() - left) <= 1.5 and abs(white[:, 1].max() + 1 - right) <= 1.5
    assert abs(white[:, 0].min() - top) <= 1.5 and abs(white[:, 0].max() + 1 - bottom) <= 1.5


def test_a_box_that_leaves_the_view_goes_but_its_concept_stays() -> None:
    sample = sample_of([[0, 0, 4, 4], [40, 30, 60, 50]])
    image = np.zeros((80, 100, 3), np.uint8)
    closer = Augmentation(scale=(3.0, 3.0), flip=0.0)
    views = [
        random_view(sample, image, (64, 64), closer, np.random.default_rng(s), GREY)
        for s in range(20)
    ]
    assert any(len(v.boxes) < 2 for v in views)
    for view in views:
        assert view.concepts == sample.concepts
        assert view.labels.shape == (len(view.boxes), 2)


def test_a_mosaic_keeps_each_cells_boxes_in_place_and_joins_their_names() -> None:
    rng = np.random.default_rng(0)
    places = cells((128, 96), rng)
    still = Augmentation(scale=(1.0, 1.0), flip=0.0, light=0.0)
    parts = []
    for number, (*_, width, height) in enumerate(places):
        image = np.full((80, 100, 3), 25 * (number + 1), np.uint8)
        sample = sample_of([[0, 0, 100, 80]])
        parts.append(random_view(sample, image, (width, height), still, rng, (0, 0, 0)))
    whole = mosaic(parts, places, (128, 96))
    assert len(whole.boxes) == 4 and whole.pixels.shape == (96, 128, 3)
    assert whole.concepts == ("thing 0",) and whole.labels.all()
    for number, (x1, y1, x2, y2) in enumerate(whole.boxes.round().astype(int)):
        assert (whole.pixels[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] == 25 * (number + 1)).all()
    assert whole.exhaustive


def test_cells_cover_the_canvas_without_overlap() -> None:
    for seed in range(10):
        covered = np.zeros((96, 128), int)
        for x, y, width, height in cells((128, 96), np.random.default_rng(seed)):
            assert width > 0 and height > 0
            covered[y : y + height, x : x + width] += 1
        assert (covered == 1).all()


def test_photos_that_are_not_exhaustive_share_no_mosaic_with_others() -> None:
    samples = [replace(sample_of([[0, 0, 9, 9]]), exhaustive=i % 4 > 0) for i in range(40)]
    config = BatchConfig(batch=8, sizes=(64,), mosaic=1.0, mosaic_size=64)
    plans = [Sampler(samples, [1.0] * 40, config, seed=0).plan(step) for step in range(40)]
    assert {len(slot) for plan in plans for slot in plan.slots} == {4}
    kinds = [{samples[i].exhaustive for i in slot} for plan in plans for slot in plan.slots]
    assert all(len(kind) == 1 for kind in kinds)
    assert 0.6 < np.mean([kind == {True} for kind in kinds]) < 0.9


def test_dropping_concepts_keeps_boxed_ones_first_and_no_nameless_box() -> None:
    sample = sample_of([[0, 0, 20, 20], [30, 30, 60, 60], [10, 10, 40, 70]])
    image = np.zeros((80, 100, 3), np.uint8)
    still = Augmentation(scale=(1.0, 1.0), flip=0.0)
    view = random_view(sample, image, (100, 80), still, np.random.default_rng(0), GREY)
    fewer = drop_concepts(view, 2, np.random.default_rng(1))
    assert len(fewer.concepts) == 2 and len(fewer.boxes) == 2 and fewer.labels.any(axis=1).all()
