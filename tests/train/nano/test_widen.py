"""Wider neck and head, same output."""

from __future__ import annotations

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from train.nano.widen import widen


def test_output_stays_and_the_new_channels_learn(tiny_model: DetCLIPv2) -> None:
    wide = widen(tiny_model, 64)
    assert wide.config.width == 64 and tiny_model.config.width == 32 and not wide.training
    pixels = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    before, after = tiny_model.encode_image(pixels), wide.encode_image(pixels)
    torch.testing.assert_close(after.boxes, before.boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(after.embeddings, before.embeddings, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(after.centerness, before.centerness, atol=1e-4, rtol=1e-3)
    (after.embeddings.square().sum() + after.boxes.sum()).backward()  # type: ignore[no-untyped-call]
    for name in ("image_tower.head.embedding.weight", "image_tower.head.box.weight"):
        gradient = dict(wide.named_parameters())[name].grad
        assert gradient is not None and gradient[:, 32:].abs().sum() > 0, name


def test_the_seed_alone_decides_what_is_new(tiny_model: DetCLIPv2) -> None:
    towers = (widen(tiny_model, 48, seed).image_tower for seed in (1, 1, 2))
    one, same, other = (tower.fpn.smooth[0].weight for tower in towers)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(one[:32, :32], other[:32, :32])


@pytest.mark.parametrize(
    ("width", "message"), [(24, "width 24 is narrower"), (160, "groups of 5 channels")]
)
def test_widths_that_would_change_the_output_are_refused(
    tiny_model: DetCLIPv2, width: int, message: str
) -> None:
    assert PRESETS["tiny"].width == 32
    with pytest.raises(ValueError, match=message):
        widen(tiny_model, width)
