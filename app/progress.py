"""How long work reports its progress, and how it is ended meanwhile."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much; what it raises ends the work at that place."""


def ignore_progress(done: int, total: int) -> None:
    """Do nothing."""
