"""The cost model: seconds a verdict, and what is saved."""

from __future__ import annotations

import pytest

from detclipv2.labeling.effort import CostModel, Effort


def test_minutes_follow_the_verdicts() -> None:
    found = Effort.of(["kept", "kept", "moved", "renamed", "deleted", "added"])
    assert found.shown == 5
    assert found.minutes_without == pytest.approx(5 * 7 / 60)
    assert found.minutes_with == pytest.approx((5 * 0.8 + 2 * 4 + 1.5 + 7) / 60)
    assert "estimate" in found.sentence()


def test_wrong_boxes_cost_and_the_sentence_says_so() -> None:
    wrong = Effort(deleted=10)
    assert wrong.minutes_saved < 0
    assert "cost about" in wrong.sentence()
    assert Effort(deleted=10, cost=CostModel(delete=0, check=0)).minutes_saved == 0
