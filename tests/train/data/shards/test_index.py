"""Indices that age, two processes that read, more tars than open files."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.shards.tars import photo, write_pairs
from train.data.shards import index as shard_index
from train.data.shards.reader import Shards


def _count_scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    scanned: list[Path] = []
    original = shard_index.scan

    def scan(tar: Path) -> shard_index.ShardIndex:
        scanned.append(tar)
        return original(tar)

    monkeypatch.setattr(shard_index, "scan", scan)
    return scanned


def test_a_tar_is_scanned_again_only_if_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = _count_scans(monkeypatch)
    write_pairs(tmp_path, [2, 3])
    tar = tmp_path / "001.tar"
    assert len(Shards(tmp_path)) == len(Shards(tmp_path)) == 5
    assert len(scanned) == 2
    index = tmp_path / "001.tar.index.npz"
    assert index.is_file()
    os.utime(tar, ns=(1, 1))
    assert len(Shards(tmp_path)) == 5 and scanned[2:] == [tar]
    index.write_bytes(b"damaged")
    assert len(Shards(tmp_path)) == 5 and scanned[3:] == [tar]
    write_pairs(tmp_path, [2, 4])
    assert len(Shards(tmp_path)) == 6


def test_an_index_that_cannot_lie_beside_its_tar_goes_to_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scanned = _count_scans(monkeypatch)
    folder = tmp_path / "data"
    folder.mkdir()
    write_pairs(folder, [2])
    original = shard_index._write

    def refuse(place: Path, *rest: object) -> None:
        if place.parent == folder:  # a read-only folder does not stop root
            raise PermissionError(place)
        original(place, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_index, "_write", refuse)
    for _ in range(2):
        assert len(Shards(folder, cache=tmp_path / "cache")) == 2
    assert len(scanned) == 1 and len(list((tmp_path / "cache").glob("*.npz"))) == 1
    (tmp_path / "taken").write_text("a file, not a folder")
    assert len(Shards(folder, cache=tmp_path / "taken")) == 2
    assert "cannot be kept" in caplog.text


def _read_all(shards: Shards, times: int, out: multiprocessing.SimpleQueue[object]) -> None:
    rng = np.random.default_rng(os.getpid())
    right = all(
        (sample := shards[int(i)]).image == photo(int(sample.caption.split()[1]))  # type: ignore[union-attr]
        for _ in range(times)
        for i in rng.permutation(len(shards))
    )
    out.put(right)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_the_same_tar_at_once(tmp_path: Path, method: str) -> None:
    write_pairs(tmp_path, [40])
    shards = Shards(tmp_path)
    assert shards[0].caption == "photo 0 of shard 0"  # the parent has the file open
    context = multiprocessing.get_context(method)
    out = context.SimpleQueue()
    children = [context.Process(target=_read_all, args=(shards, 20, out)) for _ in range(2)]
    for child in children:
        child.start()
    if method == "fork":
        _read_all(shards, 20, out)
    for child in children:
        child.join(60)
    assert [out.get() for _ in range(3 if method == "fork" else 2)] == [True] * (
        3 if method == "fork" else 2
    )
    assert len(pickle.loads(pickle.dumps(shards))) == 40


def test_a_forked_reader_does_not_move_the_parents_file(tmp_path: Path) -> None:
    write_pairs(tmp_path, [200])
    shards = Shards(tmp_path)
    assert shards[0].image == photo(0)
    (file,) = shards._files._open.values()
    before = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    child = multiprocessing.get_context("fork").Process(target=lambda: shards[199])
    child.start()
    child.join(60)
    assert child.exitcode == 0 and os.lseek(file.fileno(), 0, os.SEEK_CUR) == before


def test_more_tars_than_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.data.shards.reader._OPEN_FILES", 2)
    captions = write_pairs(tmp_path, [1] * 5)
    shards = Shards(tmp_path)
    assert [shards[i].caption for i in (4, 0, 3, 1, 2, 4)] == [
        captions[i] for i in (4, 0, 3, 1, 2, 4)
    ]
    assert len(shards._files._open) == 2


def test_an_entry_lost_after_indexing_is_a_pair_without_pixels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pairs(tmp_path, [3])
    shards = Shards(tmp_path)
    os.truncate(tmp_path / "000.tar", int(shards._indices[0].rows["text_at"][1]))
    assert shards[0].caption == "photo 0 of shard 0"
    with caplog.at_level(logging.WARNING):
        assert shards[1].image == b"" and shards[1].concepts == ()
    assert "000.tar: 000001" in caplog.text and len(shards.dropped) == 2
