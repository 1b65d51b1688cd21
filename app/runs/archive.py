"""Zip archives as images of a run.

They are never unpacked: members are read one at a time, up to a limit, so neither a path in an
archive nor its compression ratio can do harm.
"""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from threading import Lock

from app.runs.files import MAX_BYTES, SourceError, gone, readable
from app.runs.records import ImageRef
from detclipv2.datasets.image_kinds import is_kind

MAX_MEMBERS = 200_000
_DRIVE = re.compile(r"[A-Za-z]:")
_KEPT_OPEN = 2


def members(path: Path) -> Iterator[ImageRef]:
    """The images in the archive in `path`.

    Raises:
        SourceError: it is no zip archive, or has too many members.
    """
    place = readable(path.resolve())
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise SourceError(
            f"{path}: cannot be read as a zip archive ({error}); pack it again"
        ) from error
    if len(members) > MAX_MEMBERS:
        raise SourceError(
            f"{path}: {len(members):,} members are more than {MAX_MEMBERS:,}; split it"
        )
    for member in sorted(members, key=lambda m: m.filename):
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if not parts:
            continue
        hidden = any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts
        if member.is_dir() or hidden or not is_kind(PurePosixPath(*parts)):
            continue
        if _DRIVE.fullmatch(parts[0]):
            parts = parts[1:]
        name = "/".join(part for part in parts if part not in ("/", ".."))
        yield ImageRef(name, place, member.filename)


def read_member(path: Path, member: str) -> bytes:
    """The content of one of its images.

    Raises:
        SourceError: the archive is gone, or the member, or it is damaged or too large.
    """
    try:
        with _OPEN.archive(path).open(member) as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise gone(path, "the archive is gone; put it back and resume") from error
    except (zipfile.BadZipFile, KeyError, RuntimeError, OSError, EOFError) as error:
        raise SourceError(f"{path}, {member}: cannot be unpacked ({error})") from error
    except Exception as error:  # zlib and lzma have errors of their own
        raise SourceError(f"{path}, {member}: damaged ({error})") from error
    if len(content) > MAX_BYTES:
        raise SourceError(f"{path}, {member}: more than {MAX_BYTES:,} bytes once unpacked")
    return content


class _OpenArchives:
    """The archives read last, open: to open one means to read the names of all its members."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, int, int], zipfile.ZipFile] = OrderedDict()
        self._lock = Lock()

    def archive(self, path: Path) -> zipfile.ZipFile:
        """The archive in `path` as it is now; threads may read one at the same time."""
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key not in self._open:
                self._open[key] = zipfile.ZipFile(path)
            self._open.move_to_end(key)
            while len(self._open) > _KEPT_OPEN:
                # Members that are being read keep the file open until they are done.
                self._open.popitem(last=False)[1].close()
            return self._open[key]


_OPEN = _OpenArchives()
