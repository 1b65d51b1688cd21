"""Captioned photos as image-text pairs; the captions' noun phrases come later, from spaCy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from train.data.dropped import Dropped, reporting
from train.data.sample import Sample, pair

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def read_captions(
    annotations: Path, images: Path | None = None, *, split: str | None = None,
    dropped: Dropped | None = None,
) -> list[Sample]:  # fmt: skip
    """One pair a caption of a file in COCO's captions format.

    Args:
        annotations: the JSON file.
        images: folder of the photos, by default `images` beside the file.
        split: keep the images whose `split` is this; None keeps all.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: the file has another format, or no caption; both name the file.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        records = {i["id"]: i for i in data["images"]}
        rows = list(data["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in COCO's captions format: {error!r}") from error
    folder = images or annotations.parent / "images"
    samples = []
    with reporting(dropped, annotations) as report:
        for row in rows:
            try:
                record = records[row["image_id"]]
                caption = " ".join(row["caption"].split())
                path = folder / record["file_name"]
            except (AttributeError, KeyError, TypeError):
                report.add("a caption without text or image", str(row)[:200])
                continue
            if split is not None and record.get("split") != split:
                continue
            if not caption:
                report.add("an empty caption", str(row))
                continue
            width, height = record.get("width", 0), record.get("height", 0)
            samples.append(pair(path, caption=caption, width=width, height=height))
    if not samples:
        raise ValueError(f"{annotations} has no caption of split {split!r}")
    return samples


def read_caption_table(
    table: Path, images: Path, *, dropped: Dropped | None = None
) -> Iterator[Sample]:
    """Pairs of a table with a caption and a path or address a line, a tab between them.

    CC3M writes the caption first, CC12M the address; either is found out line by line. Nothing is
    fetched: of an address, `images` must hold the last part ("photo.jpg") or host and path
    ("example.org/a/photo.jpg"), as download tools lay them out. Pairs are given one by one, since
    such tables have millions of lines; sizes are not known.

    Raises:
        ValueError: the folder of photos is not there.
    """
    if not images.is_dir():
        raise ValueError(f"{images} is no folder; it must hold the photos of {table}")
    with (
        reporting(dropped, table) as report,
        table.open(encoding="utf-8", errors="replace") as rows,
    ):
        for number, row in enumerate(rows, start=1):
            cells = [cell.strip() for cell in row.rstrip("\n").split("\t")]
            picture = next((cell for cell in cells if _is_picture(cell)), None)
            caption = next((cell for cell in cells if cell != picture), "")
            if picture is None or not caption:
                report.add("a line without caption and picture", f"{number}: {row.strip()[:150]}")
                continue
            path = next((p for p in _places(picture, images) if p.is_file()), None)
            if path is None:
                report.add("a photo that is not in the folder", f"{number}: {picture}")
                continue
            # CC12M's stand-in for the names of persons.
            yield pair(path, caption=" ".join(caption.replace("<PERSON>", "person").split()))


def _is_picture(cell: str) -> bool:
    return cell.startswith(("http://", "https://")) or cell.lower().endswith(PICTURES)


def _places(picture: str, images: Path) -> Iterator[Path]:
    if "://" not in picture:
        yield images / picture
        return
    address = urlsplit(picture)
    path = unquote(address.path).lstrip("/")
    yield images / PurePosixPath(path).name
    yield images / address.netloc / path
