"""In which order the photos of a run are reviewed."""

from __future__ import annotations

from app.runs.doubt import doubt
from app.runs.store import Run


def review_order(run: Run) -> tuple[int, ...]:
    """Ids of the photos that were looked at, those most in doubt first, see `doubt`."""
    view = run.view
    urgency = {row.id: doubt(run, row, view)[0] for row in run.images("done", "empty")}
    return tuple(sorted(urgency, key=lambda image: (-urgency[image], image)))
