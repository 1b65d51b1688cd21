"""Training sees a picture as the app does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detclipv2.inference.images import open_image
from train.data.pictures import decode


def _photo() -> Image.Image:
    ramp = np.add.outer(np.arange(40) * 4, np.arange(60) * 1).astype(np.uint8)
    return Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "RGB"),
        ("a.png", "LA"),
        ("a.png", "RGBA"),
        ("a.png", "P"),
        ("a.webp", "RGB"),
        ("a.tif", "RGB"),
        ("a.png", "I;16"),
    ],
)
def test_every_kind_is_seen_alike(tmp_path: Path, name: str, mode: str) -> None:
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(_photo().convert("L")).astype(np.uint16) * 16)
    else:
        photo = _photo().convert(mode)
    if mode in ("LA", "RGBA"):
        photo.putalpha(Image.fromarray(np.asarray(_photo().convert("L"))))
    photo.save(tmp_path / name)
    seen = decode(tmp_path / name)
    assert seen is not None
    assert seen.shape == (40, 60, 3) and seen.flags.writeable and seen.flags.c_contiguous
    wanted = np.asarray(open_image(tmp_path / name)).astype(int)
    # Two decoders of JPEG round differently.
    assert np.abs(seen.astype(int) - wanted).max() <= (8 if name.endswith("jpg") else 0)
