"""What one visitor may name, for functions that know no gradio; see `Access`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Permissions:
    """What whoever asks may name; both raise ValueError for anything else.

    Attributes:
        paths: called with what was written.
        files: called with what was found there.
    """

    paths: Callable[[Iterable[str]], None]
    files: Callable[[Iterable[Path]], None]
