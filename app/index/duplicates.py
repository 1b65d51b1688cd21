"""Near-duplicates: photos of a run that show the same, found before anybody labels them twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.index.store import RegionIndex

MOST_BITS = 8
"""Of 64: hashes that differ in no more are of one picture, resized or recompressed."""
LEAST_COSINE = 0.985
"""Photos this alike in what they hold are crops or neighbours of one scene. Of 292 photos of
coco_dev no two are (at most 0.980); copies of 21 of them that lack a twentieth at each side, and
frames that moved by 3 %, all are (at least 0.989)."""
_ROWS = 512


@dataclass(frozen=True)
class Group:
    """Photos that show the same, the largest first, which is the one to keep.

    Attributes:
        images: ids in the ledger, at least two.
        mirrored: whether some are mirror images of others.
    """

    images: tuple[int, ...]
    mirrored: bool

    @property
    def spare(self) -> tuple[int, ...]:
        """All but the one to keep."""
        return self.images[1:]


def find_duplicates(
    index: RegionIndex, bits: int = MOST_BITS, cosine: float = LEAST_COSINE
) -> list[Group]:
    """Groups of near-duplicates, the largest first.

    Two photos are near-duplicates if their hashes, one of them mirrored or not, nearly agree, or if
    what they hold does; groups are what hangs together so.

    Args:
        index: of the run.
        bits: see `MOST_BITS`; below 0 no hashes are compared.
        cosine: see `LEAST_COSINE`; above 1 nothing else is.
    """
    places = index.places
    hashes = np.asarray(index.records["hashes"][places])
    photos = np.asarray(index.records["photo"][places])
    parent = list(range(len(places)))
    mirrored: set[int] = set()
    for start in range(0, len(places), _ROWS):
        rows = slice(start, start + _ROWS)
        straight = _near(hashes[rows, 0], hashes[:, 0], bits)
        flipped = _near(hashes[rows, 0], hashes[:, 1], bits)
        alike = photos[rows] @ photos.T >= cosine
        later = np.arange(len(places)) > np.arange(start, start + len(straight))[:, None]
        for i, j in np.argwhere((straight | flipped | alike) & later).tolist():
            if flipped[i, j] and not straight[i, j]:
                mirrored |= {start + i, j}
            _join(parent, start + i, j)
    sizes = index.records["size"][places].astype(np.int64).prod(axis=1)
    images = index.images
    groups: dict[int, list[int]] = {}
    for place in range(len(places)):
        groups.setdefault(_root(parent, place), []).append(place)
    found = [
        Group(tuple(images[_by_size(members, sizes)].tolist()), not mirrored.isdisjoint(members))
        for members in groups.values()
        if len(members) > 1
    ]
    return sorted(found, key=lambda group: (-len(group.images), group.images))


def _near(some: NDArray[np.uint64], every: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    return np.asarray(np.bitwise_count(some[:, None] ^ every[None]) <= bits)


def _by_size(members: Iterable[int], sizes: NDArray[np.int64]) -> list[int]:
    return sorted(members, key=lambda place: (-int(sizes[place]), place))


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _join(parent: list[int], one: int, other: int) -> None:
    parent[_root(parent, other)] = _root(parent, one)
