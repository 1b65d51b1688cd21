from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from detclipv2.learning.contrastive import contrastive_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (6, 6)])
def test_it_is_the_cross_entropy_of_eq_5(shape: tuple[int, int], smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator, dtype=torch.double)
    ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
    target = torch.randint(0, shape[1], (shape[0],), generator=generator)
    one = contrastive_loss(ours, target, temperature=0.5, smoothing=smoothing)
    other = F.cross_entropy(theirs / 0.5, target, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(one, other)
    one.backward()
    other.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_columns_that_are_right_as_well_are_neither_rewarded_nor_punished() -> None:
    scores = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    same = torch.zeros(3, 4, dtype=torch.bool)
    same[0, 0] = same[0, 2] = True  # its own column is named too: it must stay
    value = contrastive_loss(scores, torch.tensor([0, 1, 3]), same=same)
    value.backward()
    assert scores.grad is not None
    assert scores.grad[0, 2] == 0 and (scores.grad[0, [0, 1, 3]] != 0).all()
    alone = contrastive_loss(scores[:1, [0, 1, 3]], torch.tensor([0]))
    rest = contrastive_loss(scores[1:], torch.tensor([1, 3]))
    torch.testing.assert_close(value, alone + rest)


def test_rows_can_be_weighted_and_none_is_zero() -> None:
    scores, target = torch.randn(2, 3, requires_grad=True), torch.tensor([2, 0])
    weighted = contrastive_loss(scores, target, weight=torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(weighted, 2 * contrastive_loss(scores[1:], target[1:]))
    nothing = contrastive_loss(scores[:0], target[:0])
    nothing.backward()
    assert nothing.item() == 0 and scores.grad is not None and (scores.grad == 0).all()


def test_absurd_similarities_stay_finite() -> None:
    scores = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    value = contrastive_loss(scores, torch.tensor([1, 1]))
    value.backward()
    assert value.isfinite() and scores.grad is not None and scores.grad.isfinite().all()


def test_columns_spread_over_processes_give_the_same_loss_and_gradient() -> None:
    """Two halves of the columns, with sums taken over both, as two processes would."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 6, generator=generator, dtype=torch.double).requires_grad_()
    target = torch.tensor([0, 5, 2, 3])
    same = torch.zeros(4, 6, dtype=torch.bool)
    same[0, 4] = same[3, 1] = True
    expected = contrastive_loss(whole, target, same=same)
    expected.backward()
    halves = [whole.detach()[:, :3].clone().requires_grad_(), whole.detach()[:, 3:].clone()]
    targets = [torch.where(target < 3, target, -1), torch.where(target >= 3, target - 3, -1)]
    parts: list[list[torch.Tensor]] = [[], []]

    def run(index: int, ceiling: torch.Tensor | None, other: torch.Tensor | None) -> torch.Tensor:
        def total(x: torch.Tensor) -> torch.Tensor:
            parts[index].append(x.detach())
            return x if other is None else x + other

        return contrastive_loss(
            halves[index],
            targets[index],
            same=same[:, 3 * index : 3 * index + 3],
            total=total,
            largest=lambda x: x if ceiling is None else ceiling,
        )

    ceiling = (whole / 0.5).detach().amax(dim=1)
    run(1, ceiling, None)
    value = run(0, ceiling, parts[1][0])
    value.backward()
    torch.testing.assert_close(value, expected)
    assert whole.grad is not None
    torch.testing.assert_close(halves[0].grad, whole.grad[:, :3])
