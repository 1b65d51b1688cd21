"""Tars of small photos."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from train.data.sample import pair
from train.data.shards.format import Entry, write_shard


def photo(number: int, width: int = 20, height: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (number * 9 % 256, 40, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def write_pairs(folder: Path, counts: list[int]) -> list[str]:
    """Shards of numbered captions; all captions in order."""
    captions = []
    for shard, count in enumerate(counts):
        entries = []
        for i in range(count):
            captions.append(f"photo {i} of shard {shard}")
            sample = pair(photo(i), (f"thing {i}",), caption=captions[-1], width=20, height=16)
            entries.append(Entry(f"{shard:03d}{i:03d}", "png", sample))
        assert write_shard(folder / f"{shard:03d}.tar", entries) == count
    return captions
