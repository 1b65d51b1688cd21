"""Names of the files a run writes, one an image: without folders, short, unique."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from app.runs.records import ImageRef, ImageRow

_STEM, _SUFFIX = 180, 20
"""Most bytes of each. File systems take 255 for a whole name, and unfinished files have longer
names than finished ones."""


def picture_names(images: Sequence[ImageRef]) -> list[str]:
    """A file name for each drawn picture, unique also on file systems that ignore case."""
    return [f"{stem}.jpg" for stem in _unique(Path(image.file_name).stem for image in images)]


def flat_names(images: Sequence[ImageRow]) -> dict[int, str]:
    """A file name without folders for each image, by id; stems are unique, also ignoring case."""
    paths = [PurePosixPath(image.file_name) for image in images]
    stems = _unique("__".join((*path.parts[:-1], path.stem)) for path in paths)
    return {
        image.id: stem + _cut(path.suffix, _SUFFIX)
        for image, path, stem in zip(images, paths, stems, strict=True)
    }


def _unique(stems: Iterable[str]) -> list[str]:
    """Stems that fit; one that meets an earlier one gets a number."""
    taken: set[str] = set()
    names = []
    for wanted in stems:
        stem, count = _cut(wanted, _STEM), 1
        name = stem
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.lower())
        names.append(name)
    return names


def _cut(text: str, most: int) -> str:
    """The text's first `most` bytes, without half a character at the end."""
    return text.encode()[:most].decode(errors="ignore")
