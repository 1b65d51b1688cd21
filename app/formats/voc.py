"""Pascal VOC: Annotations/*.xml beside JPEGImages/*, and the sets of ImageSets/Main."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.formats.atomic import write_bytes
from app.formats.detected_image import DetectedImage, empty_folder

IMAGES = "JPEGImages"
"""The folder of the photos, which keep their format."""


def write_voc(folder: Path, names: Sequence[str], images: Iterable[DetectedImage]) -> Path:
    """Write annotations, and every image into all sets; corners are whole pixels from 1.

    Args:
        folder: of the data set.
        names: the classes.
        images: with their boxes; their names have no folders.
    """
    from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc

    annotations = empty_folder(folder / "Annotations")
    for image in images:
        width, height = image.size
        text = detections_to_pascal_voc(
            image.detections, list(names), image.name, (height, width, 3)
        )
        (annotations / f"{Path(image.name).stem}.xml").write_text(text, encoding="utf-8")
    stems = "".join(f"{path.stem}\n" for path in sorted(annotations.iterdir()))
    for part in ("train", "val", "trainval"):
        write_bytes(folder / "ImageSets" / "Main" / f"{part}.txt", stems.encode())
    return folder
