"""What a comparison found, as counts and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.comparison import KINDS, Change, Comparison, total
from app.ui.shared import html as render

HEADERS = ("photo", "change", "A", "score A", "B", "score B", "move")
NO_ROW = -1
_ROWS = 1000


@dataclass(frozen=True)
class Compared:
    """What one browser tab compared, photo by photo.

    Attributes:
        results: of the photos so far.
        photos: how many there are to compare.
        root: the folder that rows name photos from; None for a single photo.
        row: the row of the table that was clicked, or `NO_ROW`.
    """

    results: tuple[Comparison, ...] = ()
    photos: int = 0
    root: Path | None = None
    row: int = NO_ROW

    @property
    def changes(self) -> list[tuple[Comparison, Change]]:
        """What the rows on_progress: all changes, what did not change left out."""
        every = ((r, c) for r in self.results for c in r.changes if c.kind != "same")
        return [pair for pair, _ in zip(every, range(_ROWS), strict=False)]

    @property
    def rows(self) -> list[list[Any]]:
        """The table under `HEADERS`."""
        return [
            [
                self._name(result.path),
                c.kind,
                *(c.before[0] if c.before else "", _score(c.before)),
                *(c.after[0] if c.after else "", _score(c.after)),
                None if c.move is None else round(c.move, 3),
            ]
            for result, c in self.changes
        ]

    def _name(self, path: Path) -> str:
        inside = self.root is not None and path.is_relative_to(self.root)
        return str(path.relative_to(self.root)) if self.root and inside else path.name

    def find(self, values: Sequence[Any]) -> int:
        """The row with these values as the page has them, or `NO_ROW`."""
        for number, row in enumerate(self.rows):
            if all(a == b or not (a or b) for a, b in zip(row, values, strict=True)):
                return number
        return NO_ROW

    def shown(self) -> tuple[Comparison, Change | None]:
        """The photo to show, and the change on it that was asked for."""
        changes = self.changes
        return changes[self.row] if 0 <= self.row < len(changes) else (self.results[0], None)


def summary(
    results: Sequence[Comparison], photos: int, lead: str = "", notes: Sequence[str] = ()
) -> str:
    """Counts so far behind `lead`, then `notes` and the photos that could not be read."""
    counts = total(results)
    headline = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    left = "" if len(results) == photos else f" · {len(results)} of {photos} photos"
    failed = [r.error for r in results if r.error]
    changed = sum(counts[kind] for kind in KINDS if kind != "same")
    if not sum(counts.values()) and not failed:
        headline = "no boxes on either side; lower the threshold or use other words"
    elif not changed and not failed:
        headline += ". Both sides find the same"
    lines = [*notes, *failed[:5]]
    return render.status("hint" if failed or lead else "ok", lead + headline + left, lines)


def _score(entry: tuple[str, float] | None) -> float | None:
    return round(entry[1], 3) if entry else None
