"""What one visitor may name, for functions that know no gradio; see `Access`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from app.runs.records import ImageRef


@dataclass(frozen=True)
class Permissions:
    """What whoever asks may name; all raise ValueError for anything else.

    Attributes:
        paths: called with what was written.
        files: called with what was found there.
        images: likewise; those that are on disk count.
    """

    paths: Callable[[Iterable[str]], None]
    files: Callable[[Iterable[Path]], None]
    images: Callable[[Iterable[ImageRef]], None]
