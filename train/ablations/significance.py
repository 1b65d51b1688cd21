"""Means of a few runs, how sure one can be of them, and what that says of the paper's figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

Verdict = Literal["agrees", "disagrees", "not significant", "unknown"]

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of means; `half` is half of its 95 % interval, None if unknown."""

    value: float
    half: float | None

    @property
    def significant(self) -> bool:
        """Does the interval leave zero out?"""
        return self.half is not None and abs(self.value) > self.half

    def __str__(self) -> str:
        return f"{self.value:.2f}" + ("" if self.half is None else f" ± {self.half:.2f}")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and t-interval of independent runs; of a single one there is no interval.

    Raises:
        ValueError: no run.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    if len(values) < 2:
        return Estimate(fmean(values), None)
    error = math.sqrt(variance(values) / len(values))
    return Estimate(fmean(values), t_quantile(len(values) - 1) * error)


def difference(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Mean of `one` less that of `other`, with Welch's interval.

    Spreads may differ; the degrees of freedom are rounded down, which widens the interval.

    Raises:
        ValueError: no run on a side.
    """
    value = estimate(one).value - estimate(other).value
    if len(one) < 2 or len(other) < 2:
        return Estimate(value, None)
    a, b = variance(one) / len(one), variance(other) / len(other)
    if a + b == 0:
        return Estimate(value, 0.0)
    freedom = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    # A whole number may come out a hair below itself.
    return Estimate(value, t_quantile(math.floor(freedom + 1e-9)) * math.sqrt(a + b))


def difference_by_seed(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """Mean of `one` less that of `other`, figures by seeds.

    Runs of one seed begin alike and see the same batches, so the t-interval of their differences
    leaves out what all rows have in common; with fewer than two seeds in common it is Welch's.

    Raises:
        ValueError: no run on a side.
    """
    shared = sorted(one.keys() & other.keys())
    if len(shared) < 2:
        return difference(list(one.values()), list(other.values()))
    return estimate([one[seed] - other[seed] for seed in shared])


def t_quantile(freedom: int, level: float = _LEVEL) -> float:
    """Student's t that a share `level` of all lies within, on both sides of zero.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {freedom}")
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t), in closed form (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= square * k / (k + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def verdict(ours: Estimate, paper: float) -> Verdict:
    """Does our difference point where the paper's does?

    Where the paper sees none, ours agrees by being not significant.
    """
    if ours.half is None:
        return "unknown"
    if not paper:
        return "disagrees" if ours.significant else "agrees"
    if not ours.significant:
        return "not significant"
    return "agrees" if (ours.value > 0) == (paper > 0) else "disagrees"


def sentence(row: str, against: str, ours: Estimate, paper: float | None) -> str:
    """What the runs say of a row, beside what the paper says.

    Args:
        row: its name.
        against: name of the row it is compared with.
        ours: the difference of the two.
        paper: the paper's; None where it has no such row.
    """
    half = "" if ours.half is None else f" ± {ours.half:.2f}"
    start = f"{row} against {against}: {ours.value:+.2f}{half}"
    if paper is None:
        if ours.half is None:
            return f"{start}; one run alone shows nothing."
        return f"{start}; {'significant' if ours.significant else 'not significant'}."
    said = {
        "agrees": "the direction agrees with the paper's",
        "disagrees": "the direction disagrees with the paper's",
        "not significant": "not significant, the paper has",
        "unknown": "one run alone shows no direction, the paper has",
    }
    return f"{start}; {said[verdict(ours, paper)]} {paper:+.1f}."
