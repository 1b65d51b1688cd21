"""ATSS against a plain loop over boxes, written from the paper's algorithm 1."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from detclipv2.geometry.anchors import grid_anchors
from detclipv2.learning.assign import BACKGROUND, atss_assign

SIZES = [(16, 12), (8, 6), (4, 3), (2, 2), (1, 1)]
COUNTS = [h * w for h, w in SIZES]
ANCHORS = grid_anchors(SIZES, (8, 16, 32, 64, 128), 8, torch.device("cpu"))


def _iou(a: list[float], b: list[float]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0.0, w) * max(0.0, h)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def plain_atss(
    anchors: list[list[float]], counts: list[int], boxes: list[list[float]]
) -> list[int]:
    """Algorithm 1, a box at a time, on lists."""
    best = [(0.0, BACKGROUND)] * len(anchors)
    middles = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in anchors]
    for number, box in enumerate(boxes):
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        candidates, first = [], 0
        for count in counts:
            level = range(first, first + count)
            candidates += sorted(
                level, key=lambda i: (middles[i][0] - cx) ** 2 + (middles[i][1] - cy) ** 2
            )[:9]
            first += count
        overlaps = [_iou(anchors[i], box) for i in candidates]
        mean = sum(overlaps) / len(overlaps)
        spread = math.sqrt(sum((o - mean) ** 2 for o in overlaps) / (len(overlaps) - 1))
        for i, overlap in zip(candidates, overlaps, strict=True):
            x, y = middles[i]
            inside = box[0] < x < box[2] and box[1] < y < box[3]
            if overlap >= mean + spread and inside and overlap > best[i][0]:
                best[i] = (overlap, number)
    return [owner for _, owner in best]


def _random(count: int, seed: int) -> Tensor:
    # Odd fractions: no two anchors are equally far from a box's middle.
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.double) * torch.tensor(
        [80.0, 110]
    )
    side = 4 + torch.rand(count, 2, generator=generator, dtype=torch.double) * 60
    return torch.cat((corner, corner + side), 1)


def _check(boxes: Tensor) -> Tensor:
    assigned = atss_assign(ANCHORS.double(), COUNTS, boxes)
    assert assigned.tolist() == plain_atss(ANCHORS.double().tolist(), COUNTS, boxes.tolist())
    return assigned


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_random_boxes(count: int, seed: int) -> None:
    assigned = _check(_random(count, seed))
    assert (assigned != BACKGROUND).any()


def test_no_box_is_all_background() -> None:
    assigned = atss_assign(ANCHORS, COUNTS, torch.zeros(0, 4))
    assert assigned.shape == (len(ANCHORS),) and (assigned == BACKGROUND).all()


def test_of_identical_boxes_the_first_takes_all() -> None:
    assigned = _check(_random(1, 5).repeat(3, 1))
    assert set(assigned.tolist()) == {BACKGROUND, 0}


def test_of_overlapping_boxes_an_anchor_takes_the_one_it_overlaps_most() -> None:
    boxes = torch.tensor([[10.1, 10.2, 74.3, 74.4], [14.1, 12.2, 79.3, 80.4]]).double()
    assert set(_check(boxes).tolist()) == {BACKGROUND, 0, 1}


def test_a_box_outside_every_anchors_middle_gets_none() -> None:
    assert (_check(torch.tensor([[0.1, 0.1, 3.1, 3.2]]).double()) == BACKGROUND).all()
