"""Curves of simulated labeling with intervals, as JSON values and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.simulate import Point

FORMAT = 1
WAYS = ("words", "thresholds", "learned")
"""The words at their default threshold, at thresholds from reviewed photos, and learned classes."""
_RESAMPLES = 1000


def curve(runs: Sequence[Sequence[Point]], seed: int = 0) -> list[dict[str, Any]]:
    """Means and 95 % intervals of several orders of a set's photos, a value for each step.

    Intervals of AP50 are over orders, those of minutes over orders and photos.

    Args:
        runs: one for each order, all with the same steps.
        seed: of the intervals.
    """
    random = np.random.default_rng(seed)
    found = []
    for points in zip(*runs, strict=True):
        saved = {way: _saved(points, way) for way in WAYS}
        photos = 1 + max(int(point.left.max()) for point in points)
        drawn = random.integers(0, len(points), (_RESAMPLES, len(points)))
        weights = random.multinomial(photos, np.full(photos, 1 / photos), _RESAMPLES)
        shares = {way: _resampled(points, way, drawn, weights) for way in WAYS}
        in_all = [point.saved_in_all for point in points]
        found.append(
            {
                "reviewed": points[0].reviewed,
                "left": len(points[0].left),
                "ap50": {
                    way: _over_orders([getattr(point, way).ap50 for point in points], drawn)
                    for way in ("words", "learned")
                },
                "saved": {way: _interval(saved[way], shares[way]) for way in WAYS},
                "gain": _interval(
                    saved["learned"] - saved["words"], shares["learned"] - shares["words"]
                ),
                "saved_in_all": _over_orders(in_all, drawn),
            }
        )
    return found


def _saved(points: Sequence[Point], way: str) -> float:
    """Percent of the minutes by hand, mean over orders."""
    shares = [getattr(one, way).spared.sum() / max(one.by_hand.sum(), 1e-9) for one in points]
    return 100 * float(np.mean(shares))


def _resampled(
    points: Sequence[Point], way: str, drawn: NDArray[Any], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """(S,) the same of S samples of orders, (S, orders), and of photos, (S, P) how often each."""
    shares = []
    for point in points:
        own = weights[:, point.left]
        spared, by_hand = own @ getattr(point, way).spared, own @ point.by_hand
        shares.append(100 * spared / np.maximum(by_hand, 1e-9))
    return np.asarray(np.take_along_axis(np.stack(shares, axis=1), drawn, axis=1).mean(axis=1))


def _over_orders(values: Sequence[float], drawn: NDArray[Any]) -> dict[str, float]:
    every = np.array(values)
    return _interval(float(every.mean()), every[drawn].mean(axis=1))


def _interval(mean: float, samples: NDArray[Any]) -> dict[str, float]:
    low, high = np.percentile(samples, [2.5, 97.5])
    return {"mean": round(mean, 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def table(curves: Iterable[Mapping[str, Any]]) -> str:
    """What `simulate` found, as Markdown."""
    lines = [
        "| set | order | reviewed | AP50 of words | AP50 learned | saved % by words "
        "| words, own thresholds | learned | gain | whole set |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in curves:
        for point in one["points"]:
            cells = [point["ap50"]["words"], point["ap50"]["learned"]]
            cells += [point["saved"][way] for way in WAYS]
            cells += [point["gain"], point["saved_in_all"]]
            shown = " | ".join(f"{c['mean']:.1f} ({c['low']:.1f} … {c['high']:.1f})" for c in cells)
            lines.append(f"| {one['set']} | {one['order']} | {point['reviewed']} | {shown} |")
    return "\n".join(lines)
