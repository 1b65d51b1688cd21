"""Where the samples of a tar lie, found out once: reading a million entries takes minutes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from detclipv2.datasets.captions import tar_members
from detclipv2.language.embedding_file import default_cache_dir
from train.data.dropped import Dropped
from train.data.pictures import upright_size
from train.data.shards.format import from_json

logger = logging.getLogger(__name__)

_VERSION = 1
_IMAGES = ("jpg", "jpeg", "png", "webp")
_ROW = np.dtype(
    [
        ("image_at", "<i8"),
        ("image_bytes", "<i4"),
        ("text_at", "<i8"),
        ("text_bytes", "<i4"),
        ("is_json", "?"),
        ("width", "<i4"),
        ("height", "<i4"),
    ]
)


@dataclass(frozen=True)
class ShardIndex:
    """One tar's usable entries.

    Attributes:
        tar: the file.
        keys: (N,) bytes, the entries' names.
        rows: (N,) structured: where picture and text begin, their bytes, whether the text is JSON,
            and the upright picture's width and height.
        dropped: the entries left out.
    """

    tar: Path
    keys: NDArray[np.bytes_]
    rows: NDArray[np.void]
    dropped: Dropped


def load_index(tar: Path, cache: Path | None = None) -> ShardIndex:
    """The index kept beside the tar, or made now and kept for the next time.

    Args:
        tar: the shard.
        cache: where indices go if the tar's folder cannot be written; None for the system's cache
            folder.
    """
    state = tar.stat()
    stamp = np.array([_VERSION, state.st_size, state.st_mtime_ns], np.int64)
    name = hashlib.sha256(str(tar.resolve()).encode()).hexdigest()[:24]
    places = (
        tar.with_name(tar.name + ".index.npz"),
        (cache or default_cache_dir() / "shards") / f"{name}.npz",
    )
    for place in places:
        if index := _read(place, tar, stamp):
            return index
    index = scan(tar)
    for place in places:
        try:
            _write(place, index, stamp)
        except OSError as error:
            problem = error
        else:
            return index
    logger.warning("the index of %s cannot be kept (%s); it is made anew each time", tar, problem)
    return index


def scan(tar: Path) -> ShardIndex:
    """Read a tar through and check each entry but for its pixels."""
    dropped = Dropped()
    keys, rows = [], []
    with tar.open("rb") as file:
        for key, members in tar_members(tar, dropped.add).items():
            name = f"{tar}: {key}"
            try:
                row = _check(file, members, name)
            except ValueError as error:
                dropped.add(f"an entry with {error.args[0]}", " ".join([name, *error.args[1:]]))
            else:
                keys.append(key.encode())
                rows.append(row)
    return ShardIndex(tar, np.array(keys, np.bytes_), np.array(rows, _ROW), dropped)


def _check(file: BinaryIO, members: dict[str, tuple[int, int]], name: str) -> tuple[Any, ...]:
    image = next((members[kind] for kind in _IMAGES if kind in members), None)
    texts = [kind for kind in ("json", "txt") if kind in members]
    if image is None:
        raise ValueError("no picture")
    if not texts:
        raise ValueError("neither json nor txt")
    picture = _bytes(file, *image)
    try:
        size = upright_size(picture)
    except ValueError as error:
        raise ValueError("a broken picture", str(error)) from error
    problem = ""
    for kind in texts:  # some write the caption into the txt only, and other facts into the json
        text, is_json = members[kind], kind == "json"
        try:
            from_json(read_text(_bytes(file, *text), is_json=is_json), picture, size, name)
        except ValueError as error:
            problem = problem or str(error)
        else:
            return (*image, *text, is_json, *size)
    raise ValueError("a broken json or txt", problem)


def read_text(content: bytes, *, is_json: bool) -> dict[str, Any]:
    """What stands beside a picture, as values for `from_json`.

    Raises:
        ValueError: not UTF-8, or not a JSON object.
    """
    if not is_json:
        return {"caption": content.decode().strip()}
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError(f"not an object but {type(values).__name__}")
    return values


def _bytes(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _read(place: Path, tar: Path, stamp: NDArray[np.int64]) -> ShardIndex | None:
    try:
        with np.load(place) as kept:
            if not np.array_equal(kept["stamp"], stamp):
                return None
            dropped = Dropped()
            dropped.merge(json.loads(str(kept["dropped"])))
            return ShardIndex(tar, kept["keys"], kept["rows"], dropped)
    except Exception:  # absent or damaged in whatever way: it is made anew
        return None


def _write(place: Path, index: ShardIndex, stamp: NDArray[np.int64]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.stem}.{os.getpid()}.partial.npz")
    try:
        np.savez(
            partial,
            stamp=stamp,
            keys=index.keys,
            rows=index.rows,
            dropped=np.array(json.dumps(index.dropped.summary())),
        )
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
