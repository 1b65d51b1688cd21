"""A small cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """A mapping that forgets what was not used for longest.

    Args:
        capacity: how many values are kept.
        weight: what a value weighs, where their sum is bounded, too.
        most: the bound; the value used last is kept whatever it weighs.
    """

    def __init__(
        self, capacity: int, weight: Callable[[V], int] | None = None, most: int = 0
    ) -> None:
        self.capacity = capacity
        self._weight, self._most = weight, most
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None where there is none."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, and forget the oldest where there are too many."""
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self.capacity or (len(self._items) > 1 and self._heavy()):
            self._items.popitem(last=False)

    def _heavy(self) -> bool:
        return self._weight is not None and self._most < sum(
            map(self._weight, self._items.values())
        )
