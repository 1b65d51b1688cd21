"""Photos as they go into shards: checked, upright, of known size, perhaps scaled down."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from detclipv2.inference.images import ImageError, open_image
from train.data.pictures import storable_kind
from train.data.sample import Sample

_JPEG_QUALITY = 92


def encode(sample: Sample, max_side: int = 0) -> tuple[str, Sample]:
    """The extension of a sample's picture, and the sample with that encoded in memory.

    Pictures that may stay as they are do so, byte for byte. Boxes are scaled with their photo, and
    those that come below a pixel go.

    Args:
        sample: its picture is read whole.
        max_side: pixels of the longer side above which it is scaled down; 0 for never.

    Raises:
        ValueError: the picture cannot be used; its arguments are the reason, without a name, and
            what was found.
    """
    try:
        data = sample.image if isinstance(sample.image, bytes) else sample.image.read_bytes()
    except OSError as error:
        raise ValueError("a photo that cannot be read", str(error)) from error
    try:
        photo = open_image(data)
    except ImageError as error:
        raise ValueError("a photo that cannot be decoded", str(error)) from error
    if len(sample.boxes) and (sample.width, sample.height) != photo.size:
        sizes = f"{sample.width}×{sample.height} in the annotation, {photo.width}×{photo.height}"
        raise ValueError("a photo of another size than its boxes", sizes)
    kind = storable_kind(data)
    shrink = max_side / max(photo.size) if max_side else 1.0
    if shrink < 1:
        kind = None
        width, height = (max(1, round(side * shrink)) for side in photo.size)
        sample = _scale_boxes(sample, (width, height), photo.size)
        photo = photo.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if kind is None:
        buffer = BytesIO()
        photo.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        kind, data = "jpg", buffer.getvalue()
    return kind, replace(sample, image=data, width=photo.width, height=photo.height)


def _scale_boxes(sample: Sample, size: tuple[int, int], before: tuple[int, int]) -> Sample:
    # The exact factors after rounding, so that boxes stay on their pixels.
    factor = np.tile(np.divide(size, before), 2).astype(np.float32)
    boxes = np.minimum(sample.boxes * factor, np.tile(np.array(size, np.float32), 2))
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return replace(sample, boxes=boxes[kept], labels=sample.labels[kept])
