"""What the log of a run says of its speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.engine import LOG


def train_lines(run: Path) -> list[dict[str, Any]]:
    """The `train` lines of a run folder's log; none where it has no log."""
    if not (run / LOG).is_file():
        return []
    lines = (run / LOG).read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "train"]


def speed(run: Path) -> dict[str, float | None]:
    """`images_per_second` and `minutes` of a run so far, None where nothing was logged."""
    lines = train_lines(run)
    minutes = lines[-1]["seconds"] / 60 if lines else None
    return {"images_per_second": images_per_second(lines), "minutes": minutes}


def images_per_second(lines: Sequence[dict[str, Any]]) -> float | None:
    """Mean of a log's `train` lines, each counting by its time; None without any."""
    photos = seconds = before = 0.0
    for line in lines:
        # After a kill the clock goes on from the last checkpoint, which may lie further back.
        since = line["seconds"] - before if line["seconds"] > before else 0.0
        photos, seconds = photos + line["images_per_second"] * since, seconds + since
        before = line["seconds"]
    return photos / seconds if seconds else None
