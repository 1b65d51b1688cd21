"""Names of the files a run writes, one an image: without folders, short, unique."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from unicodedata import normalize

_STEM, _SUFFIX = 180, 20
"""Most bytes of each. File systems take 255 for a whole name, and unfinished files have longer
names than finished ones."""

_FOREIGN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))]
)


def picture_names(images: Sequence[str]) -> list[str]:
    """A file name for each image's drawn picture, unique also on file systems that ignore case."""
    return [f"{stem}.jpg" for stem in _unique(PurePosixPath(image).stem for image in images)]


def flat_names(images: Sequence[str]) -> list[str]:
    """A file name without folders for each image; stems are unique, also ignoring case."""
    paths = [PurePosixPath(image) for image in images]
    stems = _unique("__".join((*path.parts[:-1], path.stem)) for path in paths)
    return [
        stem + _cut(_FOREIGN.sub("-", path.suffix).rstrip(". "), _SUFFIX)
        for path, stem in zip(paths, stems, strict=True)
    ]


def _unique(stems: Iterable[str]) -> list[str]:
    """Stems that fit every file system; one that meets an earlier one gets a number."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    names = []
    for wanted in stems:
        stem = _cut(_portable(wanted), _STEM)
        name, key = stem, _key(stem)
        count = counts.get(key, 1)
        while _key(name) in taken:
            count += 1
            name = f"{stem}-{count}"
        counts[key] = count
        taken.add(_key(name))
        names.append(name)
    return names


def _key(name: str) -> str:
    """Equal for names that are one file somewhere: case is ignored, so is how é is composed."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _portable(stem: str) -> str:
    """Without what Windows takes in no name: "12:30", "what?", "con", a dot at the end."""
    stem = _FOREIGN.sub("-", stem).rstrip(". ")
    if stem.split(".")[0].rstrip().upper() in _RESERVED:
        stem = f"_{stem}"
    return stem or "_"


def _cut(text: str, most: int) -> str:
    """The text's first `most` bytes, without half a character at the end."""
    return text.encode()[:most].decode(errors="ignore")
