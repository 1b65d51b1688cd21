"""The queue: urgent photos first, and few that are alike in a row."""

from __future__ import annotations

import numpy as np

from app.review.queue import by_doubt, review_queue, varied


def scenes(count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos of several scenes; those of the first scene are the most urgent."""
    random = np.random.default_rng(0)
    of = np.repeat(np.arange(count), each)
    photos = random.normal(size=(count, 16))[of] + 0.1 * random.normal(size=(len(of), 16))
    return of, (photos + 3).astype(np.float32)


def test_neighbours_are_spread_and_the_urgent_come_first() -> None:
    of, photos = scenes(10, 10)
    urgency = 0.9 - 0.05 * of - 0.001 * np.tile(np.arange(10), 10)
    plain, order = by_doubt(urgency), varied(urgency, photos)
    assert of[plain[:10]].tolist() == [0] * 10
    assert order[0] == plain[0]
    assert sorted(order.tolist()) == [*range(100)]
    assert len(set(of[order[:10]].tolist())) >= 8
    alone = np.zeros(100)
    alone[7] = 1
    assert varied(alone, photos)[0] == 7


def test_without_embeddings_the_order_is_by_urgency() -> None:
    urgency = {3: 0.1, 1: 0.5, 2: 0.5}
    assert review_queue(urgency, {}) == [1, 2, 3]
    like = np.ones(4)
    assert review_queue(urgency, {3: like}) == [3, 1, 2], "photos without one come last"
    assert review_queue({}, {1: like}) == []
