"""What goes wrong with a Label Studio."""

from __future__ import annotations


class LabelStudioError(RuntimeError):
    """A request that did not succeed; the message says what to do.

    Attributes:
        status: the HTTP status, None when no answer came.
        lost: whether a write may have happened all the same.
    """

    def __init__(self, message: str, *, status: int | None = None, lost: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.lost = lost
