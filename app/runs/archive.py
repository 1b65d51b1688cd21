"""Zip archives as images of a run.

They are never unpacked: members are read one at a time, up to a limit, so neither a path in an
archive nor its compression ratio can do harm.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from app.runs.files import MAX_BYTES, SUFFIXES, SourceError, gone, readable
from app.runs.records import ImageRef

MAX_MEMBERS = 200_000


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
        hidden = any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts
        if member.is_dir() or hidden or PurePosixPath(*parts).suffix.lower() not in SUFFIXES:
            continue
        name = "/".join(part for part in parts if part not in ("/", "..") and ":" not in part)
        yield ImageRef(name, place, member.filename)


def read_member(path: Path, member: str) -> bytes:
    """The content of one of its images.

    Raises:
        SourceError: the archive is gone, or the member, or it is damaged or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
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
