"""Image-text pairs, or any samples, in sharded tars: random access without unpacking.

Webdataset's layout, as img2dataset and `train.pack` write it; see `shard_format`. Millions of
samples are read nearly in the order of the disk if they are asked for in `epoch_order`.
"""

from __future__ import annotations

import logging
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from train.data.dropped import Dropped
from train.data.sample import Sample, pair
from train.data.shards.format import from_json
from train.data.shards.index import load_index, read_text

logger = logging.getLogger(__name__)

_OPEN_FILES = 64


class Shards(Sequence[Sample]):
    """The samples of some tars, in the order of their names and entries, each read when asked for.

    Attributes:
        counts: samples of each tar.
        sizes: (N, 2) int32, width and height of every upright photo, known without reading it.
        dropped: entries that cannot be used; they are no samples.
    """

    def __init__(self, source: Path | Sequence[Path], *, cache: Path | None = None) -> None:
        """Index the tars, which takes long only the first time.

        Args:
            source: a folder of `*.tar`, or the tars.
            cache: see `load_index`.

        Raises:
            ValueError: no tar, or no usable entry; the message names the source.
        """
        tars = sorted(source.glob("*.tar")) if isinstance(source, Path) else list(source)
        if not tars:
            raise ValueError(f"{source} has no tar")
        shown = tqdm(tars, "shards", unit="tar", leave=False, mininterval=5, delay=5)
        self._indices = [load_index(tar, cache) for tar in shown]
        self.counts = tuple(len(index.rows) for index in self._indices)
        self._starts = [0, *np.cumsum(self.counts).tolist()]
        self.dropped = Dropped()
        for index in self._indices:
            self.dropped.merge(index.dropped.summary())
        self.dropped.log(source if isinstance(source, Path) else f"{len(tars)} tars")
        if not self._starts[-1]:
            raise ValueError(f"{source} has no usable entry: {self.dropped.summary()}")
        rows = np.concatenate([index.rows for index in self._indices])
        self.sizes: NDArray[np.int32] = np.stack([rows["width"], rows["height"]], axis=1)
        self._files = _Files()

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """A sample with its encoded picture.

        One that is lost meanwhile is a pair without pixels, which the loader skips.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        shard = bisect_right(self._starts, index) - 1
        indexed = self._indices[shard]
        row = indexed.rows[index - self._starts[shard]]
        name = f"{indexed.tar}: {indexed.keys[index - self._starts[shard]].decode()}"
        try:
            image = self._files.read(indexed.tar, int(row["image_at"]), int(row["image_bytes"]))
            text = self._files.read(indexed.tar, int(row["text_at"]), int(row["text_bytes"]))
            values = read_text(text, is_json=bool(row["is_json"]))
            return from_json(values, image, (int(row["width"]), int(row["height"])), name)
        except (OSError, ValueError) as error:
            self.dropped.add("an entry lost since the tar was indexed", name)
            logger.warning("skipped %s: lost since the tar was indexed (%s)", name, error)
            return pair(b"", origin=name)


def epoch_order(
    counts: Sequence[int], *, seed: int, epoch: int, window: int = 4
) -> NDArray[np.int64]:
    """(N,) indices into `Shards`: an epoch's order, a pure function of its arguments.

    The shards come in a random order, and `window` consecutive ones are shuffled together, so that
    reading stays within few files. A run that resumes at position n goes on with `order[n:]`.

    Args:
        counts: samples of each shard.
        seed: of the run.
        epoch: counted from 0.
        window: shards shuffled together.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    rng = np.random.default_rng((seed, 4, epoch))
    starts = np.concatenate(([0], np.cumsum(counts)))
    shards = rng.permutation(len(counts))
    parts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for first in range(0, len(shards), window):
        members = [np.arange(starts[s], starts[s + 1]) for s in shards[first : first + window]]
        parts.append(rng.permutation(np.concatenate(members)))
    return np.concatenate(parts)


class _Files:
    """Open tars, the last used ones; a forked process opens its own."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def __reduce__(self) -> tuple[type[_Files], tuple[()]]:
        return _Files, ()

    def read(self, path: Path, offset: int, count: int) -> bytes:
        if self._pid != os.getpid():
            # The parent's file positions are shared, and its lock may be held for ever.
            self._begin()
        with self._lock:
            if path not in self._open:
                if len(self._open) >= _OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
                self._open[path] = path.open("rb")
            self._open.move_to_end(path)
            file = self._open[path]
            file.seek(offset)
            content = file.read(count)
        if len(content) != count:
            raise ValueError(f"{len(content)} of {count} bytes are there")
        return content
