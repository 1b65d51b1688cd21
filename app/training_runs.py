"""Training runs as their folders describe them: curves, figures, configuration, snapshots.

Only files are read, so a run may go on meanwhile, on this machine or on one that shares the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG, ASKED, SNAPSHOTS = "log.jsonl", "experiment.json", "alignments"


class TrainingError(ValueError):
    """A folder without a training run; the message says what to do."""


@dataclass(frozen=True)
class Point:
    """One value of a curve."""

    step: int
    series: str
    value: float


@dataclass(frozen=True)
class TrainingRun:
    """What a run folder holds so far.

    Attributes:
        steps: of the whole run, 0 where it does not say.
        step: reached so far.
        seconds: of training so far.
        losses: by data type, "pairs/contrast".
        figures: of the evaluations, "ap".
        speed: photos a second.
        config: as it was asked for.
        snapshots: files of alignments, the earliest first.
    """

    folder: Path
    steps: int
    step: int
    seconds: float
    losses: tuple[Point, ...]
    figures: tuple[Point, ...]
    speed: tuple[Point, ...]
    config: dict[str, Any]
    snapshots: tuple[Path, ...]


def find_training_runs(root: Path) -> list[Path]:
    """The run folders at and below `root`, the last written first.

    Raises:
        TrainingError: no such folder, or no run in it.
    """
    if not root.is_dir():
        raise TrainingError(f"no folder {str(root)!r} on the machine that serves this page")
    found = {
        file.parent
        for depth in ("", "*/", "*/*/", "*/*/*/")
        for file in root.glob(f"{depth}{ASKED}")
    }
    if not found:
        raise TrainingError(f"no run in {root}: looked for {ASKED}, as train.pretrain writes it")
    return sorted(found, key=_written, reverse=True)


def read_run(folder: Path) -> TrainingRun:
    """What the folder holds now; a line that is being written is left for the next time.

    Raises:
        TrainingError: no run there, or a configuration that cannot be read.
    """
    try:
        config = json.loads((folder / ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{folder} holds no training run: {ASKED} is missing or damaged there"
        ) from error
    losses: list[Point] = []
    figures: list[Point] = []
    speed: list[Point] = []
    step, seconds = 0, 0.0
    for line in _lines(folder / LOG):
        here = int(line["step"])
        step, seconds = max(step, here), max(seconds, float(line.get("seconds", 0)))
        values = {k: float(v) for k, v in line.items() if isinstance(v, int | float)}
        if line["kind"] == "eval":
            figures += [Point(here, k, v) for k, v in values.items() if k not in _TIMES]
            continue
        speed.append(Point(here, "photos a second", values.get("images_per_second", 0.0)))
        losses += [
            Point(here, k, v)
            for k, v in values.items()
            if k not in (*_TIMES, "lr", "images_per_second") and not k.endswith("gradient")
        ]
    snapshots = tuple(sorted((folder / SNAPSHOTS).glob("step-*.json")))
    steps = int(config.get("loop", {}).get("steps", 0))
    return TrainingRun(
        folder, steps, step, seconds, tuple(losses), tuple(figures), tuple(speed), config, snapshots
    )


def read_snapshot(file: Path) -> dict[str, Any]:
    """The alignments of a snapshot as `train.loop.snapshots` wrote them.

    Raises:
        TrainingError: gone or damaged.
    """
    try:
        snapshot: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file.name} is missing or damaged") from error
    return snapshot


def thinned(points: tuple[Point, ...], most: int = 300) -> list[Point]:
    """At most about `most` points a series, evenly chosen, the last one among them."""
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.series, []).append(point)
    kept = []
    for row in series.values():
        every = max(1, -(-len(row) // most))
        kept += row[(len(row) - 1) % every :: every]
    return kept


_TIMES = ("step", "seconds")


def _lines(file: Path) -> list[dict[str, Any]]:
    found = []
    try:
        written = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for text in written:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"kind", "step"} <= line.keys():
            found.append(line)
    return found


def _written(folder: Path) -> float:
    log = folder / LOG
    return (log if log.is_file() else folder / ASKED).stat().st_mtime
