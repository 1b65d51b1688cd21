"""Requests that are answered in time: so many at once, further ones are refused."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

log = logging.getLogger(__name__)

Made = TypeVar("Made")


class Busy(RuntimeError):
    """There is more to do than will be done in time."""


class LimitedPool:
    """Runs requests in threads of their own, so that nothing else waits for them.

    Args:
        most: requests at once; further ones are refused.
        seconds: after which a request gets what is there by then.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="prediction")
        self._lock = threading.Lock()
        self._running = 0

    async def run(self, produce: Callable[[], Iterator[Made]]) -> list[Made]:
        """What `produce` yields in time, in its order; what it is at then ends unheard.

        Raises:
            Busy: too many requests are under way, or nothing was there in time.
        """
        with self._lock:
            if self._running >= self.most:
                raise Busy(f"{self.most} requests are under way; try again in a minute")
            self._running += 1
        made: list[Made] = []
        late = threading.Event()

        def work() -> None:
            try:
                for one in produce():
                    if late.is_set():
                        break
                    made.append(one)
            finally:
                with self._lock:
                    self._running -= 1

        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done, _ = await asyncio.wait({future}, timeout=self.seconds)
        if done:
            future.result()
            return made
        late.set()
        future.add_done_callback(lambda ended: ended.exception())  # nobody waits for it any more
        if not made:
            raise Busy(f"no answer within {self.seconds:g} s; try again in a minute")
        log.warning(
            "%d answers were there within %g s; the others are left out", len(made), self.seconds
        )
        return made[:]
