"""Scores beside better boxes, against the definition written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detclipv2.geometry.boxes import iou_matrix
from detclipv2.geometry.nms import soften


def scene(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 50
    side = torch.rand(count, 2, generator=generator) * 50 + 1
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    classes = torch.randint(0, 3, (count,), generator=generator)
    return torch.cat((corner, corner + side), 1), scores, classes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 30), sigma=st.floats(0.1, 3))
def test_it_is_its_definition(seed: int, count: int, sigma: float) -> None:
    boxes, scores, classes = scene(seed, count)
    wanted = []
    for j in range(count):
        overlaps = [
            float(iou_matrix(boxes[i : i + 1], boxes[j : j + 1]))
            for i in range(j)
            if classes[i] == classes[j]
        ]
        wanted.append(float(scores[j]) * math.exp(-(max(overlaps, default=0.0) ** 2) / sigma))
    given_ = soften(boxes, scores, classes, sigma)
    torch.testing.assert_close(given_, torch.tensor(wanted).reshape(count))
    assert (given_ <= scores).all()


def test_a_box_depends_on_better_ones_only() -> None:
    boxes, scores, classes = scene(0, 40)
    all_of_them = soften(boxes, scores, classes, 0.5)
    first = soften(boxes[:15], scores[:15], classes[:15], 0.5)
    assert torch.equal(all_of_them[:15], first)
    assert all_of_them[0] == scores[0]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_sigma_nothing_changes(count: int) -> None:
    boxes, scores, classes = scene(1, count)
    assert torch.equal(soften(boxes, scores, classes, 0.0), scores)
