"""Which photos to review first: those in doubt, and not the same scene again and again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.1
"""Scores that lie nearer to their class's threshold are in doubt."""
_SINCE = 9
"""Photos that a photo is compared with: those just before it in the queue."""
_AT_MOST = 1000
"""Photos at the head of the queue that are varied; nobody reviews more before it is made anew."""
_LEAST = 0.1
"""Of urgency, so that photos without doubt are varied, too."""


def doubt(distances: Iterable[float], margin: float = MARGIN) -> float:
    """How much a photo wants a look, 0 to 1: by how far its scores are from their thresholds."""
    total = sum(1 - distance / margin for distance in distances if distance < margin)
    return total / (1 + total)


def by_doubt(urgency: NDArray[Any]) -> NDArray[np.int64]:
    """Places of P photos, the most urgent first: (P,) → (P,)."""
    return np.argsort(-urgency, kind="stable")


def varied(urgency: NDArray[Any], photos: NDArray[Any]) -> NDArray[np.int64]:
    """Places of P photos: the most urgent first that is unlike those just before it.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over the last photos of the
    queue: urgency, times how unlike these a photo is.

    Args:
        urgency: (P,) in 0..1.
        photos: (P, D) embeddings of whole photos.
    """
    order = by_doubt(urgency)
    # Photos of one run are all alike; what tells them apart is how they differ from their mean.
    apart = np.asarray(photos, np.float32) - np.mean(photos, axis=0, dtype=np.float32)
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
    left = order[:_AT_MOST]
    chosen: list[int] = []
    while len(left):
        unlike = np.ones(len(left), np.float32)
        if chosen:
            alike = apart[left] @ apart[chosen[-_SINCE:]].T
            unlike -= np.clip(alike.max(axis=1), 0, 1)
        best = int(np.argmax((urgency[left] + _LEAST) * unlike))
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    return np.concatenate([np.array(chosen, np.int64), order[_AT_MOST:]])
