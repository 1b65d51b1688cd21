"""Captioned photos as their authors publish them: COCO captions, tables, tars, text files.

Training and the app read them alike. What cannot be used is told to `report` and left out.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from detclipv2.datasets.image_kinds import IMAGE_KINDS, is_kind

_MEMBER = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)")
_NUMBER = re.compile(r"#\d{1,9}\Z")  # Flickr8k.token.txt: "1000268201_693b08cb0e.jpg#0"

Report = Callable[[str, str], object]
"""Called with why something was left out, and which."""


@dataclass(frozen=True)
class Captioned:
    """A photo and a text about it.

    Attributes:
        name: as the data set calls the photo.
        file: the picture, or the tar that holds it.
        caption: the text, its spaces joined.
        part: where the picture lies in the tar: first byte and bytes. None for a file of its own.
        width: in pixels; 0, as is `height`, where the data set does not say.
        height: in pixels.
    """

    name: str
    file: Path
    caption: str
    part: tuple[int, int] | None = None
    width: int = 0
    height: int = 0

    def read(self) -> Path | bytes:
        """What `open_image` takes.

        Raises:
            OSError: the tar is gone.
        """
        if self.part is None:
            return self.file
        with self.file.open("rb") as archive:
            archive.seek(self.part[0])
            return archive.read(self.part[1])


def find_captions(source: Path, report: Report) -> Iterator[Captioned]:
    """The captions of a data set, whatever form it has.

    Args:
        source: a `captions.json`, a `.tar`, a table (`.tsv`, `.csv`, `.txt`) beside its photos or
            their folder `images` or `Images`; or a folder with one of these, or with a text file
            of the same name beside each photo.
        report: see there.

    Raises:
        ValueError: nothing of that kind; the message says what was looked for.
    """
    if source.is_dir():
        tars = sorted(source.glob("*.tar"))
        names = (
            "captions.json",
            "captions.tsv",
            "captions.txt",
            "captions.csv",
            "Flickr8k.token.txt",
            "results_20130124.token",
            "metadata.tsv",
        )
        kept = next((source / name for name in names if (source / name).is_file()), None)
        if kept:
            yield from find_captions(kept, report)
        elif tars:
            for tar in tars:
                yield from tar_captions(tar, report)
        else:
            yield from _beside(source)
        return
    if not source.is_file():
        raise ValueError(f"no file or folder {str(source)!r}; check the path")
    if source.suffix == ".tar":
        yield from tar_captions(source, report)
    elif source.suffix == ".json":
        yield from coco_captions(source, None, None, report)
    else:
        folders = [source.parent / name for name in ("images", "Images", "flickr30k-images")]
        folder = next((f for f in folders if f.is_dir()), source.parent)
        yield from table_captions(source, folder, report)


def coco_captions(
    annotations: Path, images: Path | None, split: str | None, report: Report
) -> Iterator[Captioned]:
    """One a caption of a file in COCO's captions format; see `find_captions`.

    Args:
        annotations: the JSON file.
        images: folder of the photos, by default `images` beside the file.
        split: keep the images whose `split` is this; None keeps all.
        report: see there.

    Raises:
        ValueError: the file has another format; the message names it.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        records = {i["id"]: i for i in data["images"]}
        rows = list(data["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in COCO's captions format: {error!r}") from error
    folder = images or annotations.parent / "images"
    for row in rows:
        try:
            record = records[row["image_id"]]
            caption = " ".join(row["caption"].split())
            name = str(record["file_name"])
            path = folder / name
        except (AttributeError, KeyError, TypeError):
            report("a caption without text or image", str(row)[:200])
            continue
        if split is not None and record.get("split") != split:
            continue
        if not caption:
            report("an empty caption", str(row))
            continue
        yield Captioned(
            name, path, caption, width=record.get("width", 0), height=record.get("height", 0)
        )


def table_captions(table: Path, images: Path, report: Report) -> Iterator[Captioned]:
    """One a line of a table with a caption and a path or address, a tab or a comma between them.

    CC3M writes the caption first, CC12M the address, Flickr8k numbers its photos ("a.jpg#0"); it is
    found out line by line. Nothing is fetched: of an address, `images` must hold the last part
    ("photo.jpg") or host and path ("example.org/a/photo.jpg"), as download tools lay them out.

    Raises:
        ValueError: the folder of photos is not there.
    """
    if not images.is_dir():
        raise ValueError(f"{images} is no folder; it must hold the photos of {table}")
    with table.open(encoding="utf-8-sig", errors="replace") as rows:
        for number, row in enumerate(rows, start=1):
            text = row.rstrip("\n")
            cells = text.split("\t") if "\t" in text else text.split(",", maxsplit=1)
            cells = [_unnumbered(cell.strip()) for cell in cells]
            picture = next((cell for cell in cells if _is_picture(cell)), None)
            caption = next((cell for cell in cells if cell != picture), "")
            if picture is None or not caption:
                report("a line without caption and picture", f"{number}: {row.strip()[:150]}")
                continue
            path = next((p for p in _places(picture, images) if os.path.isfile(p)), None)
            if path is None:
                report("a photo that is not in the folder", f"{number}: {picture}")
                continue
            # CC12M's stand-in for the names of persons.
            words = caption.replace("<PERSON>", "person").strip('"').split()
            yield Captioned(path.name, path, " ".join(words))


def tar_captions(tar: Path, report: Report) -> Iterator[Captioned]:
    """The pictures of a tar in webdataset's layout, `KEY.jpg` beside `KEY.txt` or `KEY.json`."""
    entries = tar_members(tar, report)
    with tar.open("rb") as file:
        for key, members in entries.items():
            name = f"{tar.name}: {key}"
            part = next((members[k[1:]] for k in IMAGE_KINDS if k[1:] in members), None)
            if part is None:
                report("an entry with no picture", name)
                continue
            caption = ""
            for kind in ("json", "txt"):
                if kind in members and not caption:
                    file.seek(members[kind][0])
                    caption = _caption(file.read(members[kind][1]), is_json=kind == "json")
            if caption:
                yield Captioned(name, tar, caption, part)
            else:
                report("an entry without a caption", name)


def tar_members(tar: Path, report: Report) -> dict[str, dict[str, tuple[int, int]]]:
    """Offset and bytes by extension by key, of members that are whole."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    size = tar.stat().st_size
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                match = _MEMBER.fullmatch(member.name)
                if not member.isfile() or not match:
                    continue
                key, kind = match[1], match[2].lower()
                if member.offset_data + member.size > size:
                    report("a member cut off by the end of the tar", f"{tar}: {member.name}")
                elif kind in found.setdefault(key, {}):
                    report("a second member of one name", f"{tar}: {member.name}")
                else:
                    found[key][kind] = (member.offset_data, member.size)
            # tarfile takes a damaged header for the end; the real end is a block of zeros.
            with tar.open("rb") as file:
                file.seek(archive.offset)
                end = file.read(tarfile.BLOCKSIZE)
            if end != bytes(tarfile.BLOCKSIZE):
                report("a tar that breaks off", f"{tar} at byte {archive.offset}")
    except tarfile.TarError as error:
        reason = "a tar that breaks off" if found else "a file that is no tar"
        report(reason, f"{tar}: {error}")
    return found


def _beside(folder: Path) -> Iterator[Captioned]:
    photos = sorted(p for p in folder.rglob("*") if is_kind(p) and p.is_file())
    found = [(photo, photo.with_suffix(".txt")) for photo in photos]
    told = [(photo, text) for photo, text in found if text.is_file()]
    if not told:
        raise ValueError(
            f"{folder} has no captions; looked for captions.json, captions.tsv, captions.txt, "
            "*.tar, and a .txt beside each photo"
        )
    for photo, text in told:
        caption = " ".join(text.read_text(encoding="utf-8", errors="replace").split())
        if caption:
            yield Captioned(photo.relative_to(folder).as_posix(), photo, caption)


def _caption(content: bytes, *, is_json: bool) -> str:
    try:
        if not is_json:
            return " ".join(content.decode().split())
        values = json.loads(content)
        caption = values.get("caption") if isinstance(values, dict) else None
        return " ".join(caption.split()) if isinstance(caption, str) else ""
    except ValueError:
        return ""


def _unnumbered(cell: str) -> str:
    found = _NUMBER.search(cell, max(1, len(cell) - 10))
    return cell if found is None else cell[: found.start()]


def _is_picture(cell: str) -> bool:
    return cell.startswith(("http://", "https://")) or cell.lower().endswith(IMAGE_KINDS)


def _places(picture: str, images: Path) -> Iterator[Path]:
    if "://" not in picture:
        yield images / picture
        return
    address = urlsplit(picture)
    path = unquote(address.path).lstrip("/")
    yield images / PurePosixPath(path).name
    yield images / address.netloc / path
