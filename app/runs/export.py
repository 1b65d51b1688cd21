"""A run's boxes in the formats other tools read; only images that were looked at are written."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.formats import voc, yolo
from app.formats.atomic import write_bytes
from app.formats.coco import write_coco
from app.formats.csv import TableImage, write_csv
from app.formats.detected_image import DetectedImage
from app.formats.names import flat_names
from app.progress import OnProgress, ignore_progress
from app.runs.records import ImageRef, ImageRow
from app.runs.sources import PHOTO_ERRORS
from app.runs.store import Run

log = logging.getLogger(__name__)

Reader = Callable[[ImageRef], bytes]
OnMissing = Callable[[str], None]
"""Called with which photo could not be copied, and why."""

FORMATS = ("coco", "yolo", "voc", "csv")


def export(
    run: Run,
    kind: str,
    folder: Path,
    *,
    read: Reader | None = None,
    on_progress: OnProgress = ignore_progress,
    on_missing: OnMissing = log.warning,
) -> Path:
    """Write the boxes that count at present; returns the file or folder to hand on.

    Args:
        run: where they come from.
        kind: one of `FORMATS`.
        folder: where to write.
        read: gives image files, which YOLO and Pascal VOC keep beside the labels; None leaves them
            out.
        on_progress: called after every image, once more where image files are copied.
        on_missing: called for every image file that cannot be copied; its labels are written.

    Raises:
        ValueError: an unknown format.
    """
    names = run.view.vocabulary.names
    if kind == "coco":
        return export_coco(run, folder / "coco.json", on_progress=on_progress)
    if kind == "csv":
        return write_csv(folder / "boxes.csv", _table(run, on_progress))
    if kind not in ("yolo", "voc"):
        raise ValueError(f"unknown format {kind!r}; known are {', '.join(FORMATS)}")
    rows = list(run.images("done", "empty"))
    flat = dict(zip(rows, flat_names([row.file_name for row in rows]), strict=True))
    images = _detected(run, rows, flat, on_progress)
    if kind == "yolo":
        made, photos = yolo.write_yolo(folder / "yolo", names, images), yolo.IMAGES
    else:
        made, photos = voc.write_voc(folder / "voc", names, images), voc.IMAGES
    if read is not None:
        _copy_photos(flat, made / photos, read, on_progress, on_missing)
    return made


def export_coco(
    run: Run,
    path: Path,
    *,
    extra: dict[str, dict[str, Any]] | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """COCO's detection format with scores; images without boxes are listed.

    Args:
        run: where the boxes come from.
        path: the file to write.
        extra: further keys of an image's entry, by its name.
        on_progress: called after every image.
    """
    rows = list(run.images("done", "empty"))
    images = _detected(run, rows, {row: row.file_name for row in rows}, on_progress)
    return write_coco(path, run.view.vocabulary.names, images, describe(run), extra)


def describe(run: Run) -> dict[str, Any]:
    """How the boxes were made, for COCO's `info`."""
    settings, view = run.settings, run.view
    return {
        "date_created": settings.created,
        "model": settings.model,
        "checkpoint": settings.checkpoint,
        "prompts": view.prompts,
        "vocabulary": view.vocabulary.hash,
        **asdict(settings.detection),
        "threshold": view.threshold,
        "max_boxes": view.max_boxes,
    }


def counted(images: Sequence[ImageRow], on_progress: OnProgress) -> Iterator[ImageRow]:
    """The images; the progress is reported after each, when the next is asked for."""
    for done, image in enumerate(images, 1):
        yield image
        on_progress(done, len(images))


def _detected(
    run: Run, rows: Sequence[ImageRow], names: dict[ImageRow, str], on_progress: OnProgress
) -> Iterator[DetectedImage]:
    view = run.view
    for row in counted(rows, on_progress):
        yield DetectedImage(names[row], row.size, run.detections(row, view))


def _table(run: Run, on_progress: OnProgress) -> Iterator[TableImage]:
    view = run.view
    for row in counted(list(run.images("done", "empty", "failed")), on_progress):
        boxes = [] if row.state == "failed" else run.boxes(row, view)
        yield TableImage(row.file_name, row.width, row.height, boxes, row.state, row.reason or "")


def _copy_photos(
    names: dict[ImageRow, str],
    folder: Path,
    read: Reader,
    on_progress: OnProgress,
    on_missing: OnMissing,
) -> None:
    where = f"{folder.parent.name}/{folder.name}"
    for image in counted(list(names), on_progress):
        try:
            write_bytes(folder / names[image], _upright(read(image.ref)))
        except PHOTO_ERRORS as error:
            on_missing(f"{image.file_name}: not copied to {where} ({error})")


def _upright(content: bytes) -> bytes:
    """An upright copy: not every reader of these formats applies the EXIF orientation."""
    from PIL import ExifTags

    from detclipv2.inference.images import identify, open_image

    with identify(content) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
        kind = picture.format
    if not turned:
        return content
    stream = io.BytesIO()
    open_image(content).save(stream, kind, quality=95)
    return stream.getvalue()
