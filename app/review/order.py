"""In which order the photos of a run are reviewed."""

from __future__ import annotations

from app.index.photos import photo_embeddings
from app.review.queue import review_queue
from app.runs.doubt import doubt
from app.runs.store import Run


def review_order(run: Run) -> tuple[int, ...]:
    """Ids of the photos that were looked at: those most in doubt first, and few alike in a row.

    See `doubt` and `review_queue`; a run without an index is ordered by doubt alone.
    """
    view = run.view
    urgency = {row.id: doubt(run, row, view)[0] for row in run.images("done", "empty")}
    return tuple(review_queue(urgency, photo_embeddings(run)))
