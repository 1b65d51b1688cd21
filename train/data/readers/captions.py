"""Captioned photos as image-text pairs; the captions' noun phrases come later, from spaCy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detclipv2.datasets.captions import Captioned, coco_captions, table_captions
from train.data.dropped import Dropped, reporting
from train.data.sample import Sample, pair


def read_captions(
    annotations: Path,
    images: Path | None = None,
    *,
    split: str | None = None,
    dropped: Dropped | None = None,
) -> list[Sample]:
    """One pair a caption of a file in COCO's captions format; see `coco_captions`.

    Args:
        annotations: the JSON file.
        images: folder of the photos, by default `images` beside the file.
        split: keep the images whose `split` is this; None keeps all.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: the file has another format, or no caption; both name the file.
    """
    with reporting(dropped, annotations) as report:
        samples = [_pair(c) for c in coco_captions(annotations, images, split, report.add)]
    if not samples:
        raise ValueError(f"{annotations} has no caption of split {split!r}")
    return samples


def read_caption_table(
    table: Path, images: Path, *, dropped: Dropped | None = None
) -> Iterator[Sample]:
    """Pairs of a table of captions; see `table_captions`.

    They are given one by one, since such tables have millions of lines; sizes are not known.

    Raises:
        ValueError: the folder of photos is not there.
    """
    with reporting(dropped, table) as report:
        yield from map(_pair, table_captions(table, images, report.add))


def _pair(photo: Captioned) -> Sample:
    return pair(photo.file, caption=photo.caption, width=photo.width, height=photo.height)
