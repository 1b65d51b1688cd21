"""The index of a run on disk: fixed-size records beside the ledger, appended photo by photo.

`index.json` says of which checkpoint and of what size; `regions.bin` holds a record a photo,
`embeddings.bin` its embeddings in eight bits. A photo's embeddings are written before its record,
and what a kill cut off is cut away before the next photo, so a record that is there is whole. Each
record carries checksums of itself and of its embeddings. Of a photo that was looked at again the
last record counts.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.formats.atomic import write_json
from app.index.regions import KeptRegions
from app.runs.records import RunError
from detclipv2.inference.region_numbers import KEPT

FORMAT = 1
_HEADER, _RECORDS, _EMBEDDINGS = "index.json", "regions.bin", "embeddings.bin"
_MOST = 1 << 14


class RunIndexError(RunError):
    """An index cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class IndexHeader:
    """What an index is of; never changed once it exists.

    Attributes:
        checkpoint: hex digest of the model.
        width: D of its embeddings.
        regions: R kept a photo, at most.
    """

    checkpoint: str
    width: int
    regions: int = KEPT

    def __post_init__(self) -> None:
        if not 1 <= self.width <= _MOST or not 1 <= self.regions <= _MOST:
            raise RunIndexError(
                f"width and regions must lie in 1..{_MOST}, got {self.width} and {self.regions}"
            )

    @property
    def record(self) -> np.dtype[Any]:
        """Of one photo."""
        count = self.regions
        return np.dtype(
            [
                ("image", "<i8"),
                ("count", "<i4"),
                ("size", "<i4", 2),
                ("hashes", "<u8", 2),
                ("photo", "<f4", self.width),
                ("boxes", "<f4", (count, 4)),
                ("localisation", "<f4", count),
                ("objectness", "<f4", count),
                ("scale", "<f4", count),
                ("embeddings_crc", "<u4"),
                ("crc", "<u4"),
            ]
        )

    @property
    def block(self) -> int:
        """Bytes of a photo's embeddings."""
        return self.regions * self.width


class RegionIndex:
    """An open index, for reading; `IndexWriter` appends to it.

    Attributes:
        folder: where it lies.
        header: what it is of.
        records: (N,) of `IndexHeader.record`, one a photo, by the time they were looked at.
        embeddings: (N, R, D) int8.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.header = folder, _read_header(folder)
        count = _whole(folder, self.header)
        record = self.header.record
        shape = (count, self.header.regions, self.header.width)
        if count:
            self.records: NDArray[Any] = np.memmap(folder / _RECORDS, record, "r", shape=(count,))
            self.embeddings: NDArray[np.int8] = np.memmap(
                folder / _EMBEDDINGS, np.int8, "r", shape=shape
            )
        else:
            self.records, self.embeddings = np.zeros(0, record), np.zeros(shape, np.int8)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Which records count, rising: the last one of each photo."""
        images = np.asarray(self.records["image"])
        _, last = np.unique(images[::-1], return_index=True)
        return np.sort(len(images) - 1 - last)

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Ids in the ledger of the photos at `places`."""
        return np.asarray(self.records["image"])[self.places]

    def damaged(self) -> list[int]:
        """Ids of photos whose record does not match its checksums; a full read."""
        return [
            int(self.records["image"][place])
            for place in self.places
            if not _intact(self.records[place], self.embeddings[place])
        ]

    def regions(self, place: int) -> KeptRegions:
        """The regions of one record.

        Raises:
            RunIndexError: it does not match its checksums.
        """
        record, embeddings = self.records[place], self.embeddings[place]
        if not _intact(record, embeddings):
            raise RunIndexError(
                f"the index in {self.folder} is damaged at photo {int(record['image'])}; delete "
                "the folder, and index the run again"
            )
        count = int(record["count"])
        return KeptRegions(
            boxes=np.array(record["boxes"][:count]),
            localisation=np.array(record["localisation"][:count]),
            objectness=np.array(record["objectness"][:count]),
            embeddings=np.array(embeddings[:count]),
            scale=np.array(record["scale"][:count]),
        )

    def chunks(self, photos: int) -> Iterator[slice | NDArray[np.int64]]:
        """`places`, so many at a time; a slice, which needs no copy, where they are neighbours."""
        for start in range(0, len(self.places), photos):
            chunk = self.places[start : start + photos]
            first, last = int(chunk[0]), int(chunk[-1])
            yield slice(first, last + 1) if last - first == len(chunk) - 1 else chunk


class IndexWriter:
    """Appends photos to an index, which is made where there is none. One writer at a time.

    Args:
        folder: of the index.
        header: what it is to be of.

    Raises:
        RunIndexError: there is one of another checkpoint or shape, or it cannot be read.
    """

    def __init__(self, folder: Path, header: IndexHeader) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / _HEADER).exists():
            for name in (_RECORDS, _EMBEDDINGS):
                (folder / name).unlink(missing_ok=True)
            write_json(folder / _HEADER, {"format": FORMAT, **asdict(header)}, private=True)
        found = _read_header(folder)
        if found != header:
            raise RunIndexError(
                f"the index in {folder} is of {found}, not of {header}; delete the folder"
            )
        self.header = header
        self._record = header.record
        self._records = _open(folder / _RECORDS)
        self._embeddings = _open(folder / _EMBEDDINGS)
        count = _whole(folder, header)
        # A crash of the whole machine may leave the length of a file without its content.
        while count and not self._last_is_intact(count):
            count -= 1
        self._records.truncate(count * self._record.itemsize)
        self._embeddings.truncate(count * header.block)
        self._records.seek(0, os.SEEK_END)
        self._embeddings.seek(0, os.SEEK_END)

    def _last_is_intact(self, count: int) -> bool:
        self._records.seek((count - 1) * self._record.itemsize)
        self._embeddings.seek((count - 1) * self.header.block)
        record = np.frombuffer(self._records.read(self._record.itemsize), self._record)
        block = np.frombuffer(self._embeddings.read(self.header.block), np.int8)
        return len(record) == 1 and len(block) == self.header.block and _intact(record[0], block)

    def append(
        self,
        image: int,
        size: tuple[int, int],
        regions: KeptRegions,
        photo: NDArray[Any],
        hashes: Sequence[int],
    ) -> None:
        """Add a photo.

        Args:
            image: its id in the ledger.
            size: width and height of the upright original.
            regions: at most as many as the header says; `choose_regions` gives them.
            photo: (D,), see `photo_embedding`.
            hashes: of the photo and of its mirror image, see `perceptual_hash`.

        Raises:
            OSError: the disk takes no more; the photo is not in the index then.
        """
        count = len(regions.boxes)
        record = np.zeros(1, self._record)
        record["image"], record["count"], record["size"] = image, count, size
        record["hashes"], record["photo"] = np.array(hashes, np.uint64), photo
        for name in ("boxes", "localisation", "objectness", "scale"):
            record[name][0, :count] = getattr(regions, name)
        block = np.zeros((self.header.regions, self.header.width), np.int8)
        block[:count] = regions.embeddings
        record["embeddings_crc"] = zlib.crc32(block.tobytes())
        record["crc"] = _crc(record[0])
        # In this order: a record that is there has its embeddings.
        self._embeddings.write(block.tobytes())
        self._embeddings.flush()
        self._records.write(record.tobytes())
        self._records.flush()

    def close(self) -> None:
        """Let go of the files."""
        self._records.close()
        self._embeddings.close()

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path) -> BinaryIO:
    path.touch(mode=0o600)
    return path.open("r+b")


def _read_header(folder: Path) -> IndexHeader:
    path = folder / _HEADER
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunIndexError(f"{folder} has no index; look at the run's photos again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunIndexError(f"cannot read {path}: {error}") from error
    if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
        raise RunIndexError(f"{path} was written by another version; delete {folder}")
    kinds = {"checkpoint": str, "width": int, "regions": int}
    if stored.keys() != kinds.keys() or any(
        type(stored[name]) is not kind for name, kind in kinds.items()
    ):
        raise RunIndexError(f"{path} is damaged; delete {folder}")
    return IndexHeader(**stored)


def _whole(folder: Path, header: IndexHeader) -> int:
    """How many photos have both a record and embeddings."""
    sizes = [
        (folder / name).stat().st_size // size if (folder / name).exists() else 0
        for name, size in ((_RECORDS, header.record.itemsize), (_EMBEDDINGS, header.block))
    ]
    return min(sizes)


def _crc(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[:-4])


def _intact(record: np.void, embeddings: NDArray[np.int8]) -> bool:
    return (
        int(record["crc"]) == _crc(record)
        and 0 <= int(record["count"]) <= len(record["scale"])
        and int(record["embeddings_crc"]) == zlib.crc32(np.ascontiguousarray(embeddings).tobytes())
    )
