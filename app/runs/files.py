"""Files as a run sees them: which are images, how their paths are written, why one is gone."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 256 * 2**20
"""Largest file content that is read."""


class SourceError(ValueError):
    """Images that cannot be listed or read; the message is one line and says what to do."""


def readable(path: str | Path) -> str:
    r"""The path in characters that a ledger holds and a terminal shows.

    Linux takes any bytes for a name. Those that are not UTF-8 are written like `\xe9`; no file has
    this name, so the image fails, and is named.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def gone(path: Path, reason: str) -> SourceError:
    """Why a file is not found that was there when the run began."""
    if "\\x" in path.as_posix():
        reason = "its name is not UTF-8; rename it and begin again"
    return SourceError(f"{path}: {reason}")
