"""Ultralytics' layout: data.yaml, classes.txt, labels/*.txt beside images/*."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.formats.atomic import write_bytes
from app.formats.detected_image import DetectedImage, empty_folder

IMAGES = "images"
"""The folder of the photos."""


def write_yolo(folder: Path, names: Sequence[str], images: Iterable[DetectedImage]) -> Path:
    """Write labels, classes and data.yaml; ids follow the order of the names.

    An empty `path` means data.yaml's own folder, wherever that is moved to. Nothing says which
    photos are to be held back, so all are in both sets.

    Args:
        folder: of the data set.
        names: the classes.
        images: with their boxes; their names have no folders.
    """
    import yaml
    from supervision.dataset.formats.yolo import detections_to_yolo_annotations

    labels = empty_folder(folder / "labels")
    for image in images:
        width, height = image.size
        lines = detections_to_yolo_annotations(image.detections, (height, width))
        (labels / f"{Path(image.name).stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    data = {"path": "", "train": IMAGES, "val": IMAGES, "nc": len(names), "names": list(names)}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    write_bytes(folder / "data.yaml", text.encode())
    write_bytes(folder / "classes.txt", "".join(f"{name}\n" for name in names).encode())
    return folder
