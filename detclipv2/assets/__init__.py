"""Files that ship with the package: checkpoints, the concept dictionary, demo photos."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

CAPTIONS = (
    ("astronaut.jpg", "A smiling woman in an orange space suit stands before a flag"),
    ("coffee.jpg", "A red cup of coffee on a saucer with a spoon, and a dog on the table"),
    ("chelsea.jpg", "A cat with green eyes looks up, its ears pricked, beside a bicycle"),
    ("rocket.jpg", "A white rocket lifts off beside a tower in a cloud of smoke"),
)
"""Demo photos with captions of ours; two of them name something that is not there."""


def demo_photos() -> list[Path]:
    """The photos that may be shown to anyone, see `demo/CREDITS.md`."""
    return sorted((FOLDER / "demo").glob("*.jpg"))
