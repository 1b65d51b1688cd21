"""Two ways to do the same thing, timed in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

_ROUNDS = 15


@dataclass(frozen=True)
class Pair:
    """Median seconds of two ways to do something."""

    name: str
    seconds: float
    reference: float

    def __str__(self) -> str:
        return (
            f"| {self.name} | {1e3 * self.seconds:.1f} | {1e3 * self.reference:.1f} "
            f"| {self.seconds / self.reference:.2f} |"
        )


def compare(
    name: str,
    one: Callable[[], object],
    reference: Callable[[], object],
    *,
    rounds: int = _ROUNDS,
    warm: int = 2,
) -> Pair:
    """Time two calls in turn, after `warm` warm-ups of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + warm):
        for call, kept in zip((one, reference), times, strict=True):
            started = time.perf_counter()
            call()
            if index >= warm:
                kept.append(time.perf_counter() - started)
    return Pair(name, median(times[0]), median(times[1]))
