from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.loader import Batches, load
from train.data.readers.coco import read_coco
from train.data.readers.grounding import read_grounding, read_phrases
from train.data.sample import Sample, clean_boxes
from train.data.sampler import BatchConfig, Sampler, canvas_of
from train.data.shards.format import Entry, write_shard
from train.data.shards.reader import Shards, epoch_order
from train.data.transforms import Augmentation, cells, drop_concepts, mosaic, random_view

GREY = (128, 128, 128)


def _sample(boxes: list[list[float]], width: int = 100, height: int = 80) -> Sample:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.eye(len(boxes), dtype=bool)
    names = tuple(f"thing {i}" for i in range(len(boxes)))
    return Sample(Path("drawn.png"), width, height, array, names, labels)


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
        _sample([[x, y, x + 24, y + 24]]), image, (64, 64), still_light, rng, (0, 0, 0)
    )
    white = np.argwhere(view.pixels[:, :, 0] > 127)
    if len(view.boxes) == 0:
        assert len(white) < 0.1 * 64 * 64
        return
    left, top, right, bottom = view.boxes[0]
    assert abs(white[:, 1].min() - left) <= 1.5 and abs(white[:, 1].max() + 1 - right) <= 1.5
    assert abs(white[:, 0].min() - top) <= 1.5 and abs(white[:, 0].max() + 1 - bottom) <= 1.5


def test_a_box_that_leaves_the_view_goes_but_its_concept_stays() -> None:
    sample = _sample([[0, 0, 4, 4], [40, 30, 60, 50]])
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
        sample = _sample([[0, 0, 100, 80]])
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
    samples = [replace(_sample([[0, 0, 9, 9]]), exhaustive=i % 4 > 0) for i in range(40)]
    config = BatchConfig(batch=8, sizes=(64,), mosaic=1.0, mosaic_size=64)
    plans = [Sampler(samples, [1.0] * 40, config, seed=0).plan(step) for step in range(40)]
    assert {len(slot) for plan in plans for slot in plan.slots} == {4}
    kinds = [{samples[i].exhaustive for i in slot} for plan in plans for slot in plan.slots]
    assert all(len(kind) == 1 for kind in kinds)
    assert 0.6 < np.mean([kind == {True} for kind in kinds]) < 0.9


def test_dropping_concepts_keeps_boxed_ones_first_and_no_nameless_box() -> None:
    sample = _sample([[0, 0, 20, 20], [30, 30, 60, 60], [10, 10, 40, 70]])
    image = np.zeros((80, 100, 3), np.uint8)
    still = Augmentation(scale=(1.0, 1.0), flip=0.0)
    view = random_view(sample, image, (100, 80), still, np.random.default_rng(0), GREY)
    fewer = drop_concepts(view, 2, np.random.default_rng(1))
    assert len(fewer.concepts) == 2 and len(fewer.boxes) == 2 and fewer.labels.any(axis=1).all()


def test_plans_are_a_function_of_seed_and_step(drawn_set: Path) -> None:
    samples = read_coco(drawn_set)
    config = BatchConfig(batch=4, sizes=(64, 96), mosaic=0.5, mosaic_size=64)
    one, other = (Sampler(samples, [1.0] * 12, config, seed=3) for _ in range(2))
    for step in (0, 7, 2, 30):  # in any order
        assert one.plan(step) == other.plan(step)
    assert [Sampler(samples, [1.0] * 12, config, seed=4).plan(s) for s in range(6)] != [
        one.plan(s) for s in range(6)
    ]


def test_an_epoch_shows_each_photo_as_often_as_asked(drawn_set: Path) -> None:
    samples = read_coco(drawn_set)
    sampler = Sampler(samples, [2.0] * 12, BatchConfig(batch=4, sizes=(64,)), seed=0)
    for epoch in range(2):
        first = epoch * sampler.steps_per_epoch
        plans = [sampler.plan(first + i) for i in range(sampler.steps_per_epoch)]
        seen = np.bincount([i for plan in plans for (i,) in plan.slots], minlength=12)
        assert seen.tolist() == [2] * 12
    for plan in plans:  # a batch holds one aspect ratio
        assert len({samples[i].width > samples[i].height for (i,) in plan.slots}) == 1


def test_canvases_are_multiples_of_32() -> None:
    for size in (96, 224, 256, 320):
        for shape in (-1, 0, 1):
            width, height = canvas_of(shape, size)
            assert width % 32 == height % 32 == 0
            assert (width > height) == (shape > 0)


def test_canvases_of_1333_by_800_follow_the_photos_shape() -> None:
    config = BatchConfig(batch=2, sizes=(800,), limit=1344)
    shapes = {
        (640, 480): (1056, 800),
        (500, 333): (1344, 800),
        (1920, 1080): (1344, 800),
        (600, 590): (800, 800),
        (1080, 1920): (800, 1344),
        (480, 640): (800, 1056),
    }
    for (width, height), canvas in shapes.items():
        sample = replace(_sample([[0, 0, 9, 9]]), width=width, height=height)
        assert Sampler([sample] * 2, [1.0] * 2, config, seed=0).plan(0).canvas == canvas
    wide = replace(_sample([[0, 0, 9, 9]]), width=1920, height=1080)
    mixed = Sampler([wide, replace(wide, height=1400)] * 4, [1.0] * 8, config, seed=0)
    assert {mixed.plan(step).canvas for step in range(4)} == {(1344, 800), (1056, 800)}
    for limit in (100, 64):
        with pytest.raises(ValueError, match="limit"):
            BatchConfig(sizes=(96,), limit=limit)


def _batches(samples: list[Sample], **options: int) -> Batches:
    sampler = Sampler(samples, [1.0] * len(samples), BatchConfig(batch=4, sizes=(64,)), seed=0)
    return Batches(samples, sampler, Augmentation(), seed=0, fill=GREY, most_concepts=5, **options)


def test_batches_do_not_depend_on_workers_or_the_start(drawn_set: Path) -> None:
    batches = _batches(read_coco(drawn_set))
    direct = [batches[step] for step in range(4)]
    ahead = list(load(batches, range(2, 4), workers=1))
    for one, other in zip(direct[2:], ahead, strict=True):
        assert one.step == other.step and bool((one.pixels == other.pixels).all())
        assert all((a.boxes == b.boxes).all() for a, b in zip(one.views, other.views, strict=True))


def test_two_ranks_share_a_batch_without_overlap(drawn_set: Path) -> None:
    samples = read_coco(drawn_set)
    whole = _batches(samples)[1]
    halves = [_batches(samples, rank=rank, world=2)[1] for rank in range(2)]
    for rank, half in enumerate(halves):
        assert bool((half.pixels == whole.pixels[rank::2]).all())


def test_a_bad_photo_is_skipped_and_named_once(
    drawn_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = read_coco(drawn_set)[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    bad = Sample(
        tmp_path / "broken.png", good.width, good.height, good.boxes, good.concepts, good.labels
    )
    batches = _batches([good, bad])
    batch = batches[0]
    assert caplog.text.count("broken.png") == 1
    blank = [view for view in batch.views if not view.concepts]
    assert blank and not any(view.exhaustive for view in blank)


def test_square_batches_squash_every_photo_onto_its_canvas(drawn_set: Path) -> None:
    samples = read_coco(drawn_set)
    config = BatchConfig(batch=4, sizes=(64,), square=True)
    sampler = Sampler(samples, [1.0] * len(samples), config, seed=0)
    plan = sampler.plan(1)
    assert plan.canvas == (64, 64) and sampler.steps_per_epoch == 3
    (index,) = plan.slots[0]
    sample = samples[index]
    view = random_view(
        sample,
        np.zeros((sample.height, sample.width, 3), np.uint8),
        plan.canvas,
        Augmentation(scale=(1.0, 1.0), flip=0.0, light=0.0, squash=True),
        np.random.default_rng(0),
        (9, 9, 9),
    )
    assert (view.pixels == 0).all()
    factor = np.array([64 / sample.width, 64 / sample.height] * 2, np.float32)
    np.testing.assert_allclose(view.boxes, sample.boxes * factor, rtol=1e-5)


def test_photos_of_shards_are_batched_in_the_order_of_the_disk(
    drawn_set: Path, tmp_path: Path
) -> None:
    samples = read_coco(drawn_set)
    for number in range(3):
        entries = [
            Entry(f"{number}{i}", "png", replace(s, image=s.image.read_bytes()))  # type: ignore[union-attr]
            for i, s in enumerate(samples[4 * number : 4 * number + 4])
        ]
        write_shard(tmp_path / f"{number:05d}.tar", entries)
    shards = Shards(tmp_path)
    config = BatchConfig(batch=4, sizes=(64,))
    sampler = Sampler(shards, [1.0] * len(shards), config, seed=0)
    # Three shapes of four photos each; every photo once, whole batches of one shape.
    assert sampler.steps_per_epoch == 3
    seen = [i for step in range(3) for (i,) in sampler.plan(step).slots]
    assert sorted(seen) == list(range(12))
    assert [i for step in range(3, 6) for (i,) in sampler.plan(step).slots] != seen
    square = Sampler(shards, [1.0] * len(shards), replace(config, square=True), seed=0)
    order = [i for step in range(3) for (i,) in square.plan(step).slots]
    assert order == list(epoch_order(shards.counts, seed=0, epoch=0))
    with pytest.raises(ValueError, match="repeats"):
        Sampler(shards, [2.0] * len(shards), config, seed=0)
