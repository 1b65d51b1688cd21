"""What an answer tells its reader."""

from __future__ import annotations


def notice(answer: object) -> str:
    """What a handler of the page says, its updates of components left out."""
    return " ".join(part for part in answer if isinstance(part, str))  # type: ignore[attr-defined]
