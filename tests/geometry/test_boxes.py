from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou, generalized_box_iou_loss

from detclipv2.geometry.anchors import decode, encode, grid_anchors
from detclipv2.geometry.boxes import (
    area,
    clip,
    cxcywh_to_xyxy,
    giou,
    iou_matrix,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from detclipv2.geometry.nms import batched_nms, nms


def random_boxes(count: int, seed: int = 0, side: float = 100) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=generator) * side), 1)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (4, 0), (1, 1), (20, 30)])
def test_iou_matrix_equals_torchvisions(n: int, m: int) -> None:
    a, b = random_boxes(n), random_boxes(m, 1)
    torch.testing.assert_close(iou_matrix(a, b), box_iou(a, b))


def test_giou_equals_torchvisions_in_value_and_gradient() -> None:
    ours, theirs = (random_boxes(50).requires_grad_() for _ in range(2))
    target = random_boxes(50, 1)
    (1 - giou(ours, target)).sum().backward()
    generalized_box_iou_loss(theirs, target, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_giou_of_degenerate_boxes_is_finite() -> None:
    point = torch.tensor([[5.0, 5, 5, 5]], requires_grad=True)
    value = giou(point, torch.tensor([[5.0, 5, 5, 5]]))
    value.sum().backward()
    assert value.isfinite().all() and point.grad is not None and point.grad.isfinite().all()


def test_conversions_are_inverse_and_area_ignores_inverted_boxes() -> None:
    boxes = random_boxes(9)
    torch.testing.assert_close(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)
    assert area(torch.tensor([[4.0, 0, 2, 9]])).item() == 0


def test_clip_cuts_at_the_borders_of_a_wide_picture() -> None:
    boxes = torch.tensor([[-5.0, -5, 300, 300]])
    assert clip(boxes, 200, 100).tolist() == [[0, 0, 200, 100]]


def test_anchors_stand_at_the_middle_of_their_cells() -> None:
    anchors = grid_anchors([(2, 3), (1, 1)], (8, 16), 8, torch.device("cpu"))
    assert anchors.shape == (7, 4)
    assert anchors[0].tolist() == [4 - 32, 4 - 32, 4 + 32, 4 + 32]
    assert anchors[1].tolist() == [12 - 32, 4 - 32, 12 + 32, 4 + 32]  # along the row first
    assert anchors[6].tolist() == [8 - 64, 8 - 64, 8 + 64, 8 + 64]


def test_the_papers_anchor_counts() -> None:
    def count(height: int, width: int) -> int:
        sizes = [(-(-height // s), -(-width // s)) for s in (8, 16, 32, 64, 128)]
        return len(grid_anchors(sizes, (8, 16, 32, 64, 128), 8, torch.device("cpu")))

    assert count(320, 320) == 2134
    assert count(800, 1344) == 22400


def test_decode_inverts_encode_and_zero_is_the_anchor() -> None:
    anchors, boxes = random_boxes(40), random_boxes(40, 1)
    torch.testing.assert_close(decode(anchors, encode(anchors, boxes)), boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(decode(anchors, torch.zeros(40, 4)), anchors)


def test_decode_of_an_absurd_output_is_finite() -> None:
    assert decode(random_boxes(1), torch.full((1, 4), 1e4)).isfinite().all()


@pytest.mark.parametrize("count", [0, 1, 300, 3000])
def test_batched_nms_equals_nms_class_by_class(count: int) -> None:
    boxes = random_boxes(count)
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(count, generator=generator)
    classes = torch.randint(0, 1203, (count,), generator=generator) % 40 * 30
    expected = []
    for k in classes.unique():
        members = (classes == k).nonzero().squeeze(1)
        expected += members[nms(boxes[members], scores[members], 0.5)].tolist()
    kept = batched_nms(boxes, scores, classes, 0.5)
    assert sorted(kept.tolist()) == sorted(expected)
    assert (scores[kept].diff() <= 0).all()


def test_centres_become_corners() -> None:
    boxes = torch.tensor([[[10.0, 20, 4, 6]]])
    assert cxcywh_to_xyxy(boxes).tolist() == [[[8, 17, 12, 23]]]
