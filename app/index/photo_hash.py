"""A perceptual hash: 64 bits that stay nearly the same when a photo is resized or recompressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_SIDE, _LOW = 32, 8
BITS = _LOW * _LOW


def perceptual_hash(image: Image.Image) -> tuple[int, int]:
    """PHash (Zauner 2010) of a photo and of its mirror image.

    The signs, against their median, of the 64 lowest frequencies of the photo in grey at 32×32.
    """
    import cv2
    from PIL import Image as Pillow

    grey = image.convert("L").resize((_SIDE, _SIDE), Pillow.Resampling.LANCZOS)
    pixels = np.asarray(grey, np.float32)
    return _bits(cv2.dct(pixels)), _bits(cv2.dct(np.ascontiguousarray(pixels[:, ::-1])))


def _bits(frequencies: NDArray[Any]) -> int:
    low = frequencies[:_LOW, :_LOW].flatten()
    # The first is the mean brightness, which says nothing of the content.
    above = low > np.median(low[1:])
    return int(np.packbits(above).view(">u8")[0])


def distance(a: int, b: int) -> int:
    """In how many of the 64 bits two hashes differ."""
    return (a ^ b).bit_count()
