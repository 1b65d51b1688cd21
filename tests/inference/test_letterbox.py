"""The letterbox inverts exactly and averages what it shrinks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detclipv2.config import PRESETS, ImageConfig
from detclipv2.inference.images import Letterbox, letterbox

CONFIG = PRESETS["tiny"].image


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    size=st.integers(1, 42).map(lambda n: 32 * n),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_survive_the_round_trip(
    width: int, height: int, size: int, corners: list[float]
) -> None:
    box = Letterbox.fit((width, height), size)
    assert max(box.scaled) == size
    assert all(
        0 < inside <= outside for inside, outside in zip(box.scaled, box.padded, strict=True)
    )
    assert all(outside % 32 == 0 for outside in box.padded)
    assert all(
        outside - inside < 32 for inside, outside in zip(box.scaled, box.padded, strict=True)
    )
    boxes = torch.tensor([corners], dtype=torch.float64)
    boxes *= torch.tensor([width, height, width, height])
    inside = box.to_input(boxes)
    torch.testing.assert_close(box.to_original(inside), boxes, rtol=1e-12, atol=1e-9)
    limits = torch.tensor([*box.scaled, *box.scaled], dtype=torch.float64)
    assert (inside <= limits + 1e-6).all()
    whole = box.to_input(torch.tensor([0.0, 0, width, height], dtype=torch.float64))
    torch.testing.assert_close(whole[2:], limits[2:])


@pytest.mark.parametrize("size", [0, -32, 31, 100, 32.0, True, "64"])
def test_the_size_is_a_multiple_of_32(photo: Image.Image, size: object) -> None:
    with pytest.raises(ValueError, match="size must be a positive multiple of 32, got"):
        letterbox(photo, size, CONFIG)  # type: ignore[arg-type]


def test_letterbox_pads_right_and_bottom_with_the_mean(quarters: Image.Image) -> None:
    config = ImageConfig(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5))
    pixels, box = letterbox(quarters, 64, config)
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == torch.float32
    assert (box.scaled, box.padded) == ((64, 43), (64, 64))
    assert not pixels[:, 43:].any()
    white = (1 - torch.tensor(config.mean)) / torch.tensor(config.std)
    torch.testing.assert_close(pixels[:, 40, 2], white)
    wide, _ = letterbox(quarters.resize((300, 10)), 64, config)
    assert wide.shape == (3, 32, 64)


def test_content_lands_where_boxes_say() -> None:
    """A dark square in a large photo is found under `to_input` of its box."""
    image = Image.new("RGB", (1000, 700), "white")
    image.paste("black", (600, 350, 800, 630))
    pixels, box = letterbox(image, 320, CONFIG)
    x1, y1, x2, y2 = box.to_input(torch.tensor([600.0, 350, 800, 630])).round().int().tolist()
    dark = (pixels[0, : box.scaled[1], : box.scaled[0]] < 0).nonzero()
    assert dark.amin(0).tolist() == [y1, x1]
    assert dark.amax(0).tolist() == [y2 - 1, x2 - 1]


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels, _ = letterbox(Image.fromarray(stripes), 64, ImageConfig(mean=(0, 0, 0), std=(1, 1, 1)))  # fmt: skip  # noqa: E501
    assert (pixels - 0.5).abs().max() < 0.05
