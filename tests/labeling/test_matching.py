"""Pairs of boxes: names first, then overlap, then the tie; each box once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detclipv2.labeling.matching import match


def test_names_come_first_then_overlap_then_the_tie() -> None:
    overlap = np.array([[0.9, 0.6], [0.9, 0.55]])
    same = np.array([[False, True], [False, False]])
    assert match(overlap, same) == [(0, 1), (1, 0)]
    equal = np.full((2, 2), 0.8)
    none = np.zeros((2, 2), bool)
    assert match(equal, none) == [(0, 0), (1, 1)]
    assert match(equal, none, tie=~np.eye(2, dtype=bool)) == [(0, 1), (1, 0)]
    assert match(np.array([[0.49]]), none[:1, :1]) == []
    assert match(np.zeros((0, 3)), np.zeros((0, 3), bool)) == []


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_it_is_what_taking_the_best_pair_again_and_again_gives(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    overlap, same = random.random((n, m)).round(1), random.random((n, m)) < 0.4
    left = [
        (not same[i, j], -overlap[i, j], i, j)
        for i in range(n)
        for j in range(m)
        if overlap[i, j] >= 0.5
    ]
    expected = []
    while left:
        best = min(left)
        expected.append(best[2:])
        left = [one for one in left if one[2] != best[2] and one[3] != best[3]]
    assert match(overlap, same) == expected
