"""Whose turn it is: one data type a step, the same on all ranks, a pure function of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_BLOCK = 256


@dataclass(frozen=True)
class Turn:
    """The data type of a step, and how many of its steps came before."""

    stream: int
    index: int


def turn(step: int, shares: tuple[float, ...], seed: int) -> Turn:
    """Who has step `step`, counted from 0.

    Steps come in blocks of 256. Each block holds every stream as often as its share says, in an
    order of its own, so that after any number of steps the counts are known without counting.

    Args:
        step: of the run.
        shares: of the streams, see `shares_of`.
        seed: of the run.
    """
    block, position = divmod(step, _BLOCK)
    counts = _counts(shares)
    order = _order(block, counts, seed)
    stream = int(order[position])
    before = int((order[:position] == stream).sum())
    return Turn(stream, block * counts[stream] + before)


def shares_of(
    steps_per_epoch: Sequence[int], weights: Sequence[float], temperature: float = 1.0
) -> tuple[float, ...]:
    """How much of the steps each stream gets; they sum to 1.

    In proportion to steps-per-epoch^temperature × weight. Temperature 1 visits each data set as
    often as any other, the paper's reading; towards 0 all types get equal numbers of steps, which
    keeps a flood of pairs from washing the boxes away (the paper's third open problem).

    Raises:
        ValueError: no stream, a weight below zero, or all zero.
    """
    if not steps_per_epoch or min(weights) < 0 or not any(weights):
        raise ValueError(f"weights of the streams must be ≥ 0 and not all 0, got {tuple(weights)}")
    raw = [w * s**temperature for s, w in zip(steps_per_epoch, weights, strict=True)]
    return tuple(value / sum(raw) for value in raw)


@lru_cache(maxsize=8)
def _counts(shares: tuple[float, ...]) -> tuple[int, ...]:
    """Largest remainders; a stream with any share at all has at least one step a block."""
    exact = np.array(shares) * _BLOCK
    counts = np.where(exact > 0, np.maximum(1, np.floor(exact)), 0).astype(int)
    while counts.sum() != _BLOCK:
        grow = counts.sum() < _BLOCK
        lack = np.where(exact > 0, exact - counts, -np.inf if grow else np.inf)
        if not grow:
            lack = np.where(counts > 1, lack, np.inf)
        counts[int(np.argmax(lack) if grow else np.argmin(lack))] += 1 if grow else -1
    return tuple(int(c) for c in counts)


@lru_cache(maxsize=8)
def _order(block: int, counts: tuple[int, ...], seed: int) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng((seed, 4, block))
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))
