"""What goes wrong with a Label Studio, in words."""

from __future__ import annotations


class LabelStudioError(RuntimeError):
    """A request that did not succeed; the message says what to do.

    Attributes:
        status: the HTTP status, None when no answer came.
        lost: whether a write may have happened all the same.
        busy: whether the same request may succeed a little later.
    """

    def __init__(
        self, message: str, *, status: int | None = None, lost: bool = False, busy: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.lost = lost
        self.busy = busy


def refused(status: int, reason: str, what: str, key_kind: str) -> LabelStudioError:
    """A failed answer in words, with what to do.

    Args:
        status: its HTTP status.
        reason: what the server gives as the reason.
        what: what was asked for.
        key_kind: see `keys.kind_of_key`.
    """
    advice = {
        401: f"the server does not accept this {key_kind}: it is wrong, revoked, or of a kind "
        "that the organisation has switched off; copy a new one from Account & Settings",
        403: f"this account may not do this with {what}; ask the project's owner",
        404: f"{what} does not exist, or this account cannot see it; check the number",
        413: f"the server refuses a request of this size ({what}); use smaller chunks",
        429: "the server asks to slow down; wait a minute and start again",
    }
    if status in advice:
        message = advice[status]
    elif status >= 500:
        message = f"the server failed with {status} at {what}; look at its log and start again"
    else:
        message = f"the server refuses {what}"
    return LabelStudioError(
        f"{message} ({status}: {reason})",
        status=status,
        lost=status >= 500,
        busy=status == 429 or status >= 500,
    )
