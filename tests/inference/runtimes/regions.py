"""Regions of two runtimes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch

from detclipv2 import DetCLIPv2
from detclipv2.inference.runtimes.openvino import OpenVINOTower
from detclipv2.inference.runtimes.traceable import encoder_of
from detclipv2.regions import Regions


def same(one: Regions, other: Regions) -> None:
    for field in fields(Regions):
        given, wanted = getattr(one, field.name), getattr(other, field.name)
        if isinstance(wanted, torch.Tensor):
            torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3, msg=field.name)
        else:
            assert given == wanted, field.name


def compare(model: DetCLIPv2, tower: OpenVINOTower, shapes: Sequence[tuple[int, int, int]]) -> None:
    for batch, height, width in shapes:
        generator = torch.Generator().manual_seed(height)
        pixels = torch.randn(batch, 3, height, width, generator=generator)
        with torch.inference_mode():
            same(tower(pixels), encoder_of(model)(pixels))
