"""Encoded pictures: decoding, and their size without decoding."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from detclipv2.inference.images import ImageError, identify, open_image

_JPEG = b"\xff\xd8"
KINDS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""Pillow's names of the formats kept in shards, and their extensions."""


def decode(image: Path | bytes) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of the upright picture, or None where it cannot be read.

    What is transparent or deeper than 8 bits is seen as the app sees it, by Pillow.
    """
    try:
        data = image if isinstance(image, bytes) else image.read_bytes()
        if not data.startswith(_JPEG) and not _plain(data):
            return np.array(open_image(data))
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except (OSError, ImageError, cv2.error):
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _plain(data: bytes) -> bool:
    """Is it 8-bit RGB or grey, which all decoders show alike? Also what Pillow cannot read is."""
    try:
        with identify(data) as image:
            return image.mode in ("RGB", "L") and "transparency" not in image.info
    except Exception:  # decoders meet broken files with any exception
        return True


def upright_size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture once its EXIF orientation is applied, from its header.

    Raises:
        ValueError: not a picture.
    """
    try:
        with identify(data) as image:
            return (image.height, image.width) if _orientation(image) >= 5 else image.size
    except Exception as error:  # decoders meet broken files with any exception
        raise ValueError(f"not a picture ({error})") from error


def storable_kind(data: bytes) -> str | None:
    """The extension of a picture that every decoder shows alike.

    That is a common format, upright, plain RGB or grey. None for one that is better encoded anew.
    """
    with identify(data) as image:
        plain = image.mode in ("RGB", "L") and _orientation(image) == 1
        return KINDS.get(image.format or "") if plain else None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF: the pixels are still good
        return 1
