"""The log of a run: JSON lines and TensorBoard as it is written, its speed as it is read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

LOG = "log.jsonl"


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


class RunLog:
    """JSON lines, TensorBoard and the bar, with losses averaged by data type."""

    def __init__(self, folder: Path, step: int, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._file = folder / LOG
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self._bar = tqdm(total=steps, initial=step, unit="step", mininterval=5)
        self._sums: dict[str, list[float]] = {}
        self._photos, self._since = 0, time.monotonic()

    def add(self, stream: str, values: dict[str, float], photos: int) -> None:
        """A step's losses."""
        prefix = f"{stream}/" if stream else ""
        for name, value in values.items():
            self._sums.setdefault(prefix + name, []).append(value)
        self._photos += photos
        self._bar.update()

    def write(self, step: int, seconds: float, rate: float) -> None:
        """The means since the last line."""
        now = time.monotonic()
        means = {name: sum(v) / len(v) for name, v in self._sums.items()}
        means |= {"lr": rate, "images_per_second": self._photos / (now - self._since)}
        self.line("train", step, seconds, means)
        shown = {name: f"{v:.3f}" for name, v in means.items() if name.endswith("loss")}
        self._bar.set_postfix(shown, refresh=False)
        self._sums, self._photos, self._since = {}, 0, now

    def line(self, kind: str, step: int, seconds: float, values: dict[str, float]) -> None:
        """One line, whatever it holds."""
        line = {"kind": kind, "step": step, "seconds": round(seconds, 1), **values}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush everything."""
        self._bar.close()
        self._writer.close()
