from __future__ import annotations

import pytest

from train.data.turns import shares_of, turn


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.5), (0.84, 0.159, 0.001), (0.7, 0.0, 0.3)])
def test_turns_count_each_stream_without_gap_and_keep_the_shares(shares: tuple[float, ...]) -> None:
    seen = [0] * len(shares)
    for step in range(1024):
        now = turn(step, shares, seed=3)
        assert now.index == seen[now.stream]
        seen[now.stream] += 1
    for count, share in zip(seen, shares, strict=True):
        assert abs(count / 1024 - share) <= 1 / 256 + 1e-9
        assert count > 0 or share == 0


def test_a_turn_depends_on_step_and_seed_alone() -> None:
    shares = (0.6, 0.4)
    order = [turn(step, shares, 0).stream for step in range(256)]
    assert [turn(step, shares, 0).stream for step in reversed(range(256))] == order[::-1]
    assert [turn(step, shares, 1).stream for step in range(256)] != order
    assert [turn(256 + step, shares, 0).stream for step in range(256)] != order


def test_shares_are_the_papers_by_default_and_even_out_with_temperature() -> None:
    """Steps an epoch of O365, GoldG and CC15M at batch 128 and 6144 (specification §4.1)."""
    steps = [660_000 // 128, 770_000 // 128, 13_000_000 // 6144]
    det, ground, pairs = shares_of(steps, [1, 1, 1])
    assert (det + ground) / pairs == pytest.approx(5.3, abs=0.05)
    assert shares_of(steps, [1, 1, 1], 0.0) == pytest.approx((1 / 3,) * 3)
    assert shares_of([10, 10], [3, 1]) == pytest.approx((0.75, 0.25))
    with pytest.raises(ValueError, match="not all 0"):
        shares_of([1, 2], [0, 0])
