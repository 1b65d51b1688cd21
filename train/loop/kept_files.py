"""Files of a run that take minutes to make and serve other runs of the same data as well."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

KEPT = ("caption_phrases.json",)
"""Noun phrases of captions."""


def copy_kept(shared: Path, folder: Path) -> None:
    """Copy what `shared` has of these files and the run `folder` lacks; both exist."""
    for name in KEPT:
        if (shared / name).is_file() and not (folder / name).is_file():
            begun = folder / f"{name}.partial"
            shutil.copyfile(shared / name, begun)
            os.replace(begun, folder / name)


def move_kept(folder: Path, shared: Path) -> None:
    """Move these files of a finished run to `shared`, which exists."""
    for name in KEPT:
        if (folder / name).is_file():
            os.replace(folder / name, shared / name)
