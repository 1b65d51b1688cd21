"""A photo of four colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def quarters() -> Image.Image:
    """48 x 32: red, green / white, blue (top left, top right / bottom left, bottom right)."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24, 0] = pixels[:16, 24:, 1] = pixels[16:, 24:, 2] = 255
    pixels[16:, :24] = 255
    return Image.fromarray(pixels)
