"""Room on the disk, kept for a file that is written last."""

from __future__ import annotations

import os
from pathlib import Path

_STEP = 2**20


class ReservedSpace:
    """Room in `folder`: pictures may fill a disk, the boxes have to be written all the same."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".detections.room"
        self._bytes = 0

    def keep(self, size: int) -> None:
        """Keep at least so many bytes.

        Raises:
            OSError: there is no more room; what was kept before still is.
        """
        if size <= self._bytes:
            return
        wanted = -(-size // _STEP) * _STEP
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, wanted)
            else:  # pragma: no cover - Windows
                file.write(bytes(wanted - self._bytes))
        self._bytes = wanted

    def release(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)
        self._bytes = 0
