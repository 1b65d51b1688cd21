"""The Train tab's runs, from its controls to what they hold or why not; no gradio here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.training_runs import (
    TrainingError,
    TrainingRun,
    find_training_runs,
    read_run,
    read_snapshot,
)
from app.ui.shared.cards import Found
from app.ui.shared.permissions import Permissions
from app.ui.shared.trouble import Trouble


@dataclass(frozen=True)
class SnapshotPhoto:
    """A photo of a snapshot: its file name, caption, size in pixels, and what was found on it."""

    photo: str
    caption: str
    size: tuple[int, int]
    similarity: float
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Snapshot:
    """The alignments of a run at one step."""

    step: int
    photos: tuple[SnapshotPhoto, ...]


def find_runs(root: str, may: Permissions) -> dict[str, Path] | Trouble:
    """The runs below a folder by their names, the last written first."""
    try:
        place = root.strip() or "runs"
        may.paths([place])
        runs = find_training_runs(Path(place).expanduser())
    except ValueError as error:
        return Trouble.of(error)
    above = runs[0].parent
    return {str(run.relative_to(above) if run.is_relative_to(above) else run): run for run in runs}


def open_run(folder: str, may: Permissions) -> TrainingRun | Trouble:
    """What a run holds so far."""
    try:
        may.paths([folder])
        return read_run(Path(folder))
    except ValueError as error:
        return Trouble.of(error)


def open_snapshot(folder: str, chosen: str, may: Permissions) -> Snapshot | Trouble:
    """The chosen snapshot of a run, or its latest."""
    run = open_run(folder, may)
    if isinstance(run, Trouble):
        return run
    try:
        files = run.snapshots
        stored = read_snapshot(next((f for f in files if str(f) == chosen), files[-1]))
        return Snapshot(int(stored["step"]), tuple(map(_photo, stored["photos"])))
    except TrainingError as error:
        return Trouble(f"the snapshot cannot be shown: {error}")
    except (IndexError, KeyError, TypeError, ValueError):
        return Trouble("the snapshot cannot be shown: it is damaged; choose another one")


def _photo(stored: dict[str, Any]) -> SnapshotPhoto:
    width, height = (int(side) for side in stored["size"])
    found = []
    for phrase in stored["phrases"]:
        x1, y1, x2, y2 = (float(v) for v in phrase["box"])
        found.append(Found(str(phrase["text"]), float(phrase["evidence"]), (x1, y1, x2, y2)))
    return SnapshotPhoto(
        Path(str(stored["photo"])).name,
        str(stored["caption"]),
        (width, height),
        float(stored["similarity"]),
        tuple(found),
    )
