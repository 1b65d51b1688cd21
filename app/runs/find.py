"""Which run folders there are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app.runs.store import SETTINGS_FILE


def find_runs(folder: Path) -> list[Path]:
    """Run folders directly below `folder`, newest first."""
    found = []
    for run in folder.iterdir():
        with suppress(OSError):  # no run; what cannot be read is one all the same
            found.append(((run / SETTINGS_FILE).lstat().st_mtime, run))
    return [path for _, path in sorted(found, key=lambda entry: entry[0], reverse=True)]
