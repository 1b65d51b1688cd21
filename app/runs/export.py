"""A run's boxes in the formats other tools read; only images that were looked at are written."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.formats.coco import CocoDataset, write_bytes, write_json
from app.formats.names import flat_names
from app.progress import Tell, untold
from app.runs.records import ImageRef, ImageRow
from app.runs.sources import PHOTO_ERRORS, is_address
from app.runs.store import Run

if TYPE_CHECKING:
    import supervision as sv

log = logging.getLogger(__name__)

Reader = Callable[[ImageRef], bytes]
Missed = Callable[[str], None]
"""Told which photo could not be copied, and why."""

FORMATS = ("coco", "yolo", "voc", "csv", "labelstudio")
_CSV = ("file_name", "width", "height", "class", "score", "x1", "y1", "x2", "y2", "state", "reason")


def export(
    run: Run,
    kind: str,
    folder: Path,
    *,
    read: Reader | None = None,
    image_root: str = "",
    tell: Tell = untold,
    missed: Missed = log.warning,
) -> Path:
    """Write the boxes that count at present; returns the file or folder to hand on.

    Args:
        run: where they come from.
        kind: one of `FORMATS`.
        folder: where to write.
        read: gives image files, which YOLO and Pascal VOC keep beside the labels; None leaves them
            out.
        image_root: for "labelstudio", what stands before a file's name in the task; see there.
        tell: called after every image, once more where image files are copied.
        missed: called for every image file that cannot be copied; its labels are written.

    Raises:
        ValueError: an unknown format.
    """
    if kind == "coco":
        return to_coco(run, folder / "coco.json", tell=tell)
    if kind == "yolo":
        return to_yolo(run, folder / "yolo", read, tell, missed)
    if kind == "voc":
        return to_voc(run, folder / "voc", read, tell, missed)
    if kind == "csv":
        return to_csv(run, folder / "boxes.csv", tell)
    if kind == "labelstudio":
        return to_labelstudio(run, folder / "labelstudio.json", image_root, tell)
    raise ValueError(f"unknown format {kind!r}; known are {', '.join(FORMATS)}")


def to_coco(
    run: Run,
    path: Path,
    *,
    info: dict[str, Any] | None = None,
    extra: dict[int, dict[str, Any]] | None = None,
    tell: Tell = untold,
) -> Path:
    """COCO's detection format with scores; images without boxes are listed.

    Args:
        run: where the boxes come from.
        path: the file to write.
        info: replaces the keys of COCO's `info`.
        extra: further keys of an image's entry, by the ledger's id.
        tell: called after every image.
    """
    dataset = CocoDataset(run.view.vocabulary.names, info or describe(run))
    view = run.view
    for image in _told(list(run.images("done", "empty")), tell):
        more = (extra or {}).get(image.id, {})
        dataset.add(image.file_name, image.size, run.detections(image, view), **more)
    write_json(path, dataset.to_dict())
    return path


def to_yolo(
    run: Run,
    folder: Path,
    read: Reader | None = None,
    tell: Tell = untold,
    missed: Missed = log.warning,
) -> Path:
    """Ultralytics' layout: data.yaml, classes.txt, labels/*.txt, images/*; ids follow the prompts.

    An empty `path` means data.yaml's own folder, wherever that is moved to. Nothing says which
    photos are to be held back, so all are in both sets.
    """
    import yaml
    from supervision.dataset.formats.yolo import detections_to_yolo_annotations

    def lines(detections: sv.Detections, image: ImageRow, name: str) -> str:
        width, height = image.size
        return "\n".join(detections_to_yolo_annotations(detections, (height, width)))

    _write_each(run, folder / "labels", ".txt", lines, tell)
    names = list(run.view.vocabulary.names)
    told = {"path": "", "train": "images", "val": "images", "nc": len(names), "names": names}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)
    write_bytes(folder / "data.yaml", text.encode())
    write_bytes(folder / "classes.txt", "".join(f"{name}\n" for name in names).encode())
    _write_images(run, folder / "images", read, tell, missed)
    return folder


def to_voc(
    run: Run,
    folder: Path,
    read: Reader | None = None,
    tell: Tell = untold,
    missed: Missed = log.warning,
) -> Path:
    """Pascal VOC: Annotations/*.xml, JPEGImages/*, and the names in every set of ImageSets/Main.

    Corners are whole pixels counted from 1. Photos keep their format, which need not be JPEG.
    """
    from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc

    names = list(run.view.vocabulary.names)

    def document(detections: sv.Detections, image: ImageRow, name: str) -> str:
        width, height = image.size
        return detections_to_pascal_voc(detections, names, name, (height, width, 3))

    _write_each(run, folder / "Annotations", ".xml", document, tell)
    stems = "".join(f"{path.stem}\n" for path in sorted((folder / "Annotations").iterdir()))
    for part in ("train", "val", "trainval"):
        write_bytes(folder / "ImageSets" / "Main" / f"{part}.txt", stems.encode())
    _write_images(run, folder / "JPEGImages", read, tell, missed)
    return folder


def to_csv(run: Run, path: Path, tell: Tell = untold) -> Path:
    """One line a box; an image without boxes has one line with empty cells, and so has a failed."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_CSV)
    view = run.view
    for image in _told(list(run.images("done", "empty", "failed")), tell):
        head = [image.file_name, image.width, image.height]
        boxes = [] if image.state == "failed" else run.boxes(image, view)
        for box in boxes:
            corners = [round(value, 2) for value in box.xyxy]
            writer.writerow([*head, box.name, round(box.score, 6), *corners, "done", ""])
        if not boxes:
            writer.writerow([*head, "", "", "", "", "", "", image.state, image.reason or ""])
    write_bytes(path, text.getvalue().encode("utf-8"))
    return path


def to_labelstudio(run: Run, path: Path, image_root: str = "", tell: Tell = untold) -> Path:
    """Label Studio's import format: tasks with predictions for `payload.DEFAULT_TARGET`.

    An image of a task or an address keeps its own. A file's address is `image_root` and its name;
    without one, what local-files storage makes of its place below the document root, if that is
    told and the file lies there, else of its name.
    """
    from app.commands.server_options import DOCUMENT_ROOT
    from app.labelstudio.api.payload import DEFAULT_TARGET, prediction, regions_of

    written = os.environ.get(DOCUMENT_ROOT)
    root = Path(written).resolve() if written else None
    view, version = run.view, run.model_version
    places = {name: (DEFAULT_TARGET, name) for name in view.vocabulary.names}
    tasks = []
    for image in _told(list(run.images("done", "empty")), tell):
        made = prediction(regions_of(run.boxes(image, view), image.size, places), version)
        where = _task_address(image, image_root, root)
        data = {DEFAULT_TARGET.to_name: where, "file_name": image.file_name}
        tasks.append({"data": data, "predictions": [made]})
    write_bytes(path, json.dumps(tasks, ensure_ascii=False, indent=1).encode("utf-8"))
    return path


def _task_address(image: ImageRow, image_root: str, document_root: Path | None) -> str:
    from urllib.parse import quote

    from app.labelstudio.api.images import local_address

    if image.task is not None or is_address(image.place):
        return image.place
    if image_root:
        return image_root + quote(image.file_name)
    place = Path(image.place)
    if document_root and image.member is None and place.is_relative_to(document_root):
        return local_address(place.relative_to(document_root).as_posix())
    return local_address(image.file_name)


def describe(run: Run) -> dict[str, Any]:
    """How the boxes were made, for COCO's `info`."""
    settings, view = run.settings, run.view
    return {
        "date_created": settings.created,
        "model": settings.model,
        "checkpoint": settings.checkpoint,
        "size": settings.size,
        "tiles": settings.tiles,
        "prompts": view.prompts,
        "vocabulary": view.vocabulary.hash,
        "threshold": view.threshold,
        "nms_iou": settings.nms_iou,
        "max_boxes": view.max_boxes,
    }


def _told(images: Sequence[ImageRow], tell: Tell) -> Iterator[ImageRow]:
    for done, image in enumerate(images, 1):
        yield image
        tell(done, len(images))


def _write_each(
    run: Run,
    folder: Path,
    suffix: str,
    content: Callable[[sv.Detections, ImageRow, str], str],
    tell: Tell,
) -> None:
    if folder.exists():  # labels of an earlier export would mix with these
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    images, view = list(run.images("done", "empty")), run.view
    names = flat_names(images)
    for image in _told(images, tell):
        name = names[image.id]
        text = content(run.detections(image, view), image, name)
        (folder / (Path(name).stem + suffix)).write_text(text, encoding="utf-8")


def _write_images(run: Run, folder: Path, read: Reader | None, tell: Tell, missed: Missed) -> None:
    if read is None:
        return
    images = list(run.images("done", "empty"))
    names = flat_names(images)
    where = f"{folder.parent.name}/{folder.name}"
    for image in _told(images, tell):
        try:
            write_bytes(folder / names[image.id], _upright(read(image.ref)))
        except PHOTO_ERRORS as error:
            missed(f"{image.file_name}: not copied to {where} ({error})")


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
