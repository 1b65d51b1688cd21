"""How long work tells how far it is, and how whoever listens ends it."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[int, int], None]
"""Told how much is done, and of how much; what it raises ends the work at that place."""


def untold(done: int, total: int) -> None:
    """Nobody listens."""
