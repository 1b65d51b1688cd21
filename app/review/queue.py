"""Which photos to review first: those in doubt, and not the same scene again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SINCE = 9
"""Photos that a photo is compared with: those just before it in the queue."""
_AT_MOST = 1000
"""Photos at the head of the queue that are varied; nobody reviews more before it is made anew."""
_LEAST = 0.1
"""Of urgency, so that photos without doubt are varied, too."""


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


def review_queue(urgency: Mapping[int, float], photos: Mapping[int, NDArray[Any]]) -> list[int]:
    """Ids of photos in the order of `varied`; those without an embedding come last, by urgency.

    Args:
        urgency: 0 to 1 by id.
        photos: (D,) embeddings by id; none for an order by urgency alone.
    """
    ids = sorted(urgency, key=lambda one: (-urgency[one], one))
    known = [one for one in ids if one in photos]
    if not known:
        return ids
    order = varied(
        np.array([urgency[one] for one in known]), np.stack([photos[one] for one in known])
    )
    return [known[place] for place in order] + [one for one in ids if one not in photos]
