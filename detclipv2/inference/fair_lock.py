"""Who may run a model now."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A lock that serves those who wait in the order they came.

    `threading.Lock` does not: threads that look at one photo after the other give it up and have it
    again before others wake, so that a single photo may wait for many of theirs.
    """

    def __init__(self) -> None:
        self._turns = threading.Condition()
        self._line: deque[object] = deque()

    def __enter__(self) -> None:
        mine = object()
        with self._turns:
            self._line.append(mine)
            try:
                self._turns.wait_for(lambda: self._line[0] is mine)
            except BaseException:  # Ctrl+C must not leave a place that nobody takes
                self._line.remove(mine)
                self._turns.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        with self._turns:
            self._line.popleft()
            self._turns.notify_all()
