"""Files that ship with the package: checkpoints, the concept dictionary, demo photos."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def demo_photos() -> list[Path]:
    """The photos that may be shown to anyone, see `demo/CREDITS.md`."""
    return sorted((FOLDER / "demo").glob("*.jpg"))
