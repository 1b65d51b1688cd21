"""Plans and batches: a function of seed and step, the same for any number of workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.samples import GREY, sample_of
from train.data.loader import Batches, load
from train.data.readers.coco import read_coco
from train.data.sample import Sample
from train.data.sampler import BatchConfig, Sampler, canvas_of
from train.data.shards.format import Entry, write_shard
from train.data.shards.reader import Shards, epoch_order
from train.data.transforms import Augmentation, random_view


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
        sample = replace(sample_of([[0, 0, 9, 9]]), width=width, height=height)
        assert Sampler([sample] * 2, [1.0] * 2, config, seed=0).plan(0).canvas == canvas
    wide = replace(sample_of([[0, 0, 9, 9]]), width=1920, height=1080)
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
