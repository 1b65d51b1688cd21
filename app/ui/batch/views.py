"""A run as the Batch tab shows it: where it stands, its photos, what an export holds."""

from __future__ import annotations

from typing import Any

from app.runs.jobs import Job
from app.runs.store import Run
from app.ui.shared import html as render

_MOST_SHOWN = 200


def status_of(run: Run, job: Job | None) -> str:
    """Where a run stands, as HTML.

    Args:
        run: the run.
        job: what works on it, or did.

    Raises:
        RunError: its ledger is damaged.
    """
    counts, version = run.counts(), run.model_version
    phase = "stopped" if counts.pending else "finished"
    left, problem = None, ""
    if job is not None:
        now = job.progress()
        phase, left, problem = now.phase, now.seconds_left, now.problem
    words = f"{run.folder.name}: {phase}, {counts.processed:,} of {counts.total:,} photos"
    if left and phase == "running":
        words += f", about {render.duration(left)} left"
    lines = [
        f"{counts.done} with boxes · {counts.empty} empty · {counts.failed} failed",
        f"threshold {run.view.threshold:g} · version {version}",
    ]
    if problem:
        return render.status("error", f"{words}. {problem}", lines)
    bar = render.bar(counts.processed, counts.total)
    return bar + render.status("ok" if not counts.pending else "idle", words, lines)


def rows_of(run: Run) -> list[list[Any]]:
    """Photos of a run: failed ones first, each with why."""
    view = run.view
    rows: list[list[Any]] = []
    for states in (("failed",), ("done", "empty")):
        for image in run.images(*states):
            boxes = 0 if image.state == "failed" else len(run.boxes(image, view))
            rows.append([image.file_name, image.state, boxes, image.reason or ""])
            if len(rows) >= _MOST_SHOWN:
                return rows
    return rows


def exported(run: Run) -> str:
    """What an export holds, and what of the run it does not."""
    counts = run.counts()
    boxes, photos = sum(run.class_counts().values()), counts.done + counts.empty
    words = f"Exported {boxes:,} boxes of {photos:,} photos at threshold {run.view.threshold:g}"
    missing = [
        f"{number:,} photos are not in it: {why}"
        for number, why in ((counts.pending, "not looked at yet"), (counts.failed, "failed"))
        if number
    ]
    return render.status("hint" if missing else "ok", words, missing)


def threshold_notes(run: Run) -> list[str]:
    """Why a run's threshold may change nothing."""
    own = run.view.vocabulary.thresholds
    if len(own) < len(run.view.vocabulary.returned):
        return []
    return ["Every class has its own @ threshold, so this one changes nothing."]
