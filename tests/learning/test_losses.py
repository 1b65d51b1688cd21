from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from detclipv2.learning.losses import (
    centerness_loss,
    centerness_target,
    focal_loss,
    giou_loss,
    ranking_loss,
)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (4, 30, 11)])
def test_focal_equals_torchvisions_in_value_and_gradient(
    shape: tuple[int, ...], gamma: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator, dtype=torch.double) * 4
    targets = torch.rand(shape, generator=generator) < 0.2
    keep = torch.rand(shape, generator=generator) < 0.8
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    one = focal_loss(ours, targets, keep, gamma=gamma)
    other = (sigmoid_focal_loss(theirs, targets.double(), gamma=gamma) * keep).sum()
    torch.testing.assert_close(one, other)
    (3 * one).backward()
    (3 * other).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_focal_of_many_chunks_equals_torchvisions_in_any_precision(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    start = (torch.randn(3, 333, 101, generator=generator) * 4).to(dtype)
    targets = torch.rand(start.shape, generator=generator) < 0.2
    keep = torch.rand(start.shape, generator=generator) < 0.8
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    one = focal_loss(ours, targets, keep)
    other = (sigmoid_focal_loss(theirs.float(), targets.float()) * keep).sum()
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, other)
    (one / 1000).backward()
    (other / 1000).backward()
    assert ours.grad is not None and ours.grad.dtype == dtype
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=2e-2)


def test_focal_is_finite_for_absurd_logits() -> None:
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    value = focal_loss(logits, torch.tensor([True, True, False, False]))
    value.backward()
    assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_losses_of_nothing_are_zero_and_backpropagate() -> None:
    boxes = torch.zeros(0, 4, requires_grad=True)
    logits = torch.zeros(0, requires_grad=True)
    value = giou_loss(boxes, torch.zeros(0, 4), torch.zeros(0)) + centerness_loss(
        logits, torch.zeros(0)
    )
    value.backward()
    assert value.item() == 0


def test_giou_loss_weighs_each_box() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    moved = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    # Touching squares: IoU 0, hull 200 = union 200, so GIoU 0 and loss 1, times its weight.
    assert giou_loss(moved, boxes, torch.tensor([5.0, 0.5])).item() == pytest.approx(0.5)


def test_centerness_is_one_in_the_middle_and_falls_to_the_border() -> None:
    box = torch.tensor([[0.0, 0, 40, 20]])

    def at(x: float, y: float) -> float:
        return centerness_target(torch.tensor([[x - 4, y - 4, x + 4, y + 4]]), box).item()

    assert at(20, 10) == pytest.approx(1)
    assert at(10, 10) == pytest.approx((10 / 30) ** 0.5)
    assert at(10, 5) == pytest.approx((10 / 30 * 5 / 15) ** 0.5)
    assert at(0, 10) == 0
    assert at(-3, 10) == 0


def test_ranking_is_zero_where_all_goes_to_boxes_that_fit_and_falls_towards_them() -> None:
    fits = torch.tensor([[True, False], [True, True], [False, False]])
    sure = torch.tensor([[50.0, -50], [-50, 50], [-50, -50]])
    assert float(ranking_loss(sure, fits)) == 0
    even = torch.zeros(3, 2, requires_grad=True)
    loss = ranking_loss(even, fits)
    torch.testing.assert_close(float(loss.detach()), math.log(3 / 2) + math.log(3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert even.grad is not None and torch.equal(even.grad < 0, fits)


def test_ranking_adds_up_over_concepts_and_is_finite_where_nothing_fits() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = (40 * torch.randn(30, 5, generator=generator)).requires_grad_()
    fits = torch.rand(30, 5, generator=generator) > 0.9
    fits[:, 2] = False
    whole = ranking_loss(scores, fits)
    torch.testing.assert_close(
        whole, torch.stack([ranking_loss(scores[:, [k]], fits[:, [k]]) for k in range(5)]).sum()
    )
    whole.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None and bool(scores.grad.isfinite().all())
    assert (scores.grad[:, 2] == 0).all() and (scores.grad[:, 0] != 0).any()
    for empty in (scores[:, :0], scores[:, [2]]):
        assert float(ranking_loss(empty, torch.zeros(empty.shape, dtype=torch.bool)).detach()) == 0
