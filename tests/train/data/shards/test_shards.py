"""Shards: exact round trips, damaged tars, resume."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.shards.tars import photo, write_pairs
from train.data.sample import Sample, pair
from train.data.shards import index as shard_index
from train.data.shards.format import Entry, from_json, to_json, write_shard
from train.data.shards.reader import Shards, epoch_order


def tar_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def assert_equal(one: Sample, other: Sample) -> None:
    for name in ("image", "width", "height", "concepts", "exhaustive", "complete", "caption"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("boxes", "labels"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype and np.array_equal(left, right), name


def samples() -> list[Sample]:
    boxes = np.array([[0.1, 1 / 3, 7.7, 15.99], [2, 3, 5, 8]], np.float32)
    labels = np.array([[True, False, True], [False, True, False]])
    none = np.zeros((0, 4), np.float32)
    names = ("a", "b", "ç")
    return [
        Sample(photo(1), 20, 16, boxes, names, labels, True, (), "a caption\n“é”"),
        Sample(photo(2), 20, 16, boxes, names, labels, False, ("a", "zebra")),
        Sample(photo(3), 20, 16, none, (), np.zeros((0, 0), bool)),
        pair(photo(4), ("cat", "sat"), caption="the cat sat", width=20, height=16),
        pair(photo(5), caption="words", width=20, height=16),
    ]


def test_any_sample_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = samples()
    write_shard(tmp_path / "0.tar", [Entry(f"{i}", "png", s) for i, s in enumerate(kept)])
    shards = Shards(tmp_path)
    assert len(shards) == len(kept) and not len(shards.dropped)
    for one, other in zip(kept, shards, strict=True):
        assert_equal(one, other)
    assert shards.sizes.tolist() == [[20, 16]] * len(kept)
    assert shards[-1].caption == "words" and len(shards[1:3]) == 2
    with pytest.raises(IndexError):
        shards[len(kept)]
    assert shards[0].name == f"{tmp_path / '0.tar'}: 0"


def test_a_shard_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def entries():
        yield Entry("0", "png", samples()[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "0.tar", entries())
    assert not (tmp_path / "0.tar").exists()
    with pytest.raises(ValueError, match="has no tar"):
        Shards(tmp_path)


def test_img2datasets_layout_is_read(tmp_path: Path) -> None:
    status = {"status": "success", "width": 7, "height": 7, "original_width": 700, "key": "0"}
    tar_of(
        tmp_path / "00000.tar",
        [
            ("000000000.jpg", photo(1)),
            ("000000000.txt", b"a dog"),
            ("000000000.json", json.dumps({**status, "caption": "a dog"}).encode()),
            ("deep/1.PNG", photo(2)),
            ("deep/1.txt", "größe\n".encode()),
            ("2.webp", photo(3)),
            ("2.json", json.dumps(status).encode()),
            ("2.txt", b"from txt"),
        ],
    )
    shards = Shards(tmp_path)
    assert [s.caption for s in shards] == ["a dog", "größe", "from txt"]
    assert all(s.concepts == () and not s.exhaustive and s.width == 20 for s in shards)


def test_dead_entries_are_named_and_counted_and_the_rest_lives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = json.dumps({"caption": "fine"}).encode()
    other_size = to_json(samples()[0]) | {"width": 21}
    twice = to_json(samples()[3]) | {"concepts": ["a"], "boxes": [[0, 0, 1, 1]], "labels": [[7]]}
    tar_of(
        tmp_path / "0.tar",
        [
            ("first.png", photo(1)),
            ("first.json", good),
            ("lonely.png", photo(1)),
            ("blind.json", good),
            ("broken.png", b"no picture"),
            ("broken.json", good),
            ("garbled.png", photo(1)),
            ("garbled.json", b'{"caption": '),
            ("list.png", photo(1)),
            ("list.json", b"[1]"),
            ("mute.png", photo(1)),
            ("mute.json", b"{}"),
            ("number.png", photo(1)),
            ("number.json", b'{"caption": 3}'),
            ("latin.png", photo(1)),
            ("latin.txt", b"\xff\xfe\xff"),
            ("resized.png", photo(1)),
            ("resized.json", json.dumps(other_size).encode()),
            ("wrong.png", photo(1)),
            ("wrong.json", json.dumps(twice).encode()),
            ("last.png", photo(1)),
            ("last.json", good),
            ("last.png", photo(2)),
        ],
    )
    (tmp_path / "1.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "2.tar").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        shards = Shards(tmp_path)
    assert [s.name.split(": ")[1] for s in shards] == ["first", "last"]
    assert shards[1].image == photo(1) and shards.counts == (2, 0, 0)
    assert shards.dropped.counts == {
        "an entry with a broken json or txt": 7,
        "an entry with no picture": 1,
        "an entry with neither json nor txt": 1,
        "an entry with a broken picture": 1,
        "a second member of one name": 1,
        "a file that is no tar": 2,
    }
    for name in ("lonely", "blind", "broken", "garbled", "1.tar"):
        assert name in caplog.text
    # What was found out once is still known when the index is read.
    assert Shards(tmp_path).dropped.counts == shards.dropped.counts


def test_every_truncation_keeps_the_whole_entries_before_it(tmp_path: Path) -> None:
    captions = write_pairs(tmp_path, [5])
    whole = (tmp_path / "000.tar").read_bytes()
    starts = shard_index.scan(tmp_path / "000.tar").rows["image_at"]
    ends = shard_index.scan(tmp_path / "000.tar").rows["text_at"] + 512
    for cut in range(600, int(ends[-1]) + 512, 211):
        tar = tmp_path / "cut" / f"{cut}.tar"
        tar.parent.mkdir(exist_ok=True)
        tar.write_bytes(whole[:cut])
        index = shard_index.scan(tar)
        certain, begun = int((ends <= cut).sum()), int((starts < cut).sum())
        assert certain <= len(index.rows) <= begun
        assert len(index.dropped), f"cut at {cut} went unnoticed"
        if len(index.rows):
            assert [s.caption for s in Shards([tar])] == captions[: len(index.rows)]
    damaged = bytearray(whole)
    header = int(starts[2]) - 512
    damaged[header : header + 512] = b"\x07" * 512
    (tmp_path / "cut" / "damaged.tar").write_bytes(damaged)
    index = shard_index.scan(tmp_path / "cut" / "damaged.tar")
    assert len(index.rows) == 2 and index.dropped.counts == {"a tar that breaks off": 1}


def test_an_epoch_shows_everything_once_within_windows() -> None:
    counts = (5, 0, 7, 3, 6, 4)
    order = epoch_order(counts, seed=1, epoch=0, window=2)
    assert sorted(order.tolist()) == list(range(25))
    shard = np.repeat(np.arange(6), counts)[order]
    spans = [np.flatnonzero(shard == s)[[0, -1]] for s in set(shard.tolist())]
    begun = [sum(first <= at <= last for first, last in spans) for at in range(len(order))]
    assert max(begun) == 2  # so few shards are read in turns
    assert not np.array_equal(order, np.sort(order))
    again = epoch_order(counts, seed=1, epoch=0, window=2)
    assert np.array_equal(order, again)
    for other in ({"seed": 2, "epoch": 0}, {"seed": 1, "epoch": 1}):
        assert not np.array_equal(order, epoch_order(counts, window=2, **other))
    assert epoch_order((), seed=0, epoch=0).shape == (0,)
    with pytest.raises(ValueError, match="window"):
        epoch_order(counts, seed=0, epoch=0, window=0)


def test_resuming_goes_on_with_the_same_photos(tmp_path: Path) -> None:
    write_pairs(tmp_path, [4, 6, 5])
    shards = Shards(tmp_path)
    order = epoch_order(shards.counts, seed=3, epoch=2, window=2)
    whole = [shards[int(i)].caption for i in order]
    again = Shards(tmp_path)  # as a new process would
    rest = epoch_order(again.counts, seed=3, epoch=2, window=2)[7:]
    assert [again[int(i)].caption for i in rest] == whole[7:]


def test_values_that_are_no_samples_are_refused() -> None:
    for values in ({"boxes": [[0, 0, 1, 1]], "concepts": ["a"]}, {"caption": "x", "concepts": 3}):
        with pytest.raises(ValueError, match="not a sample's values"):
            from_json(values, b"", (20, 16), "x")
