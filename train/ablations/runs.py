"""What train.ablate leaves in a folder, as values."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.loop.run_log import train_lines

ASKED = "ablation.json"
FIGURES = "figures.json"
FAILED = "failed.txt"


@dataclass(frozen=True)
class Trained:
    """A finished run: figures in percent by short names, and its speed."""

    seed: int
    figures: dict[str, float]
    images_per_second: float | None
    minutes: float | None


@dataclass(frozen=True)
class Runs:
    """What a folder of ablations holds.

    Attributes:
        settings: of all runs.
        asked: names of the rows that were asked for.
        trained: of each of these, its finished runs.
        missing: of each with unfinished runs, what is known of these.
    """

    settings: dict[str, Any]
    asked: tuple[str, ...]
    trained: dict[str, list[Trained]]
    missing: dict[str, list[str]]

    def values(self, row: str, figure: str) -> dict[int, float]:
        """A figure of all finished runs of a row that have it, by their seeds."""
        runs = self.trained.get(row, [])
        return {run.seed: run.figures[figure] for run in runs if figure in run.figures}


def read_runs(folder: Path) -> Runs:
    """Everything in a folder that `train.ablate` wrote.

    Raises:
        ValueError: it is no such folder.
    """
    if not (folder / ASKED).is_file():
        raise ValueError(f"{folder} has no {ASKED}; give the --out of train.ablate")
    record = json.loads((folder / ASKED).read_text(encoding="utf-8"))
    trained: dict[str, list[Trained]] = {}
    missing: dict[str, list[str]] = {}
    for name, wanted in record["rows"].items():
        for seed in range(wanted["seeds"]):
            run = folder / wanted["folder"] / f"seed{seed}"
            if (run / FIGURES).is_file():
                trained.setdefault(name, []).append(_trained(run))
            else:
                missing.setdefault(name, []).append(f"seed {seed} {_progress(run)}")
    return Runs(record["settings"], tuple(record["rows"]), trained, missing)


def _trained(run: Path) -> Trained:
    record = json.loads((run / FIGURES).read_text(encoding="utf-8"))
    figures = {k: v for k, v in record["figures"].items() if v is not None}
    return Trained(record["seed"], figures, record["images_per_second"], record["minutes"])


def _progress(run: Path) -> str:
    if (run / FAILED).is_file():
        return f"failed: {(run / FAILED).read_text(encoding='utf-8').strip()}"
    if lines := train_lines(run):
        return f"got to step {lines[-1]['step']}"
    return "has begun" if run.is_dir() else "not begun"


def keep(runs: Path, folder: Path) -> None:
    """Copy what was asked for and the figures of finished runs, without their details.

    Raises:
        ValueError: `runs` has no ablations.
    """
    read_runs(runs)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / ASKED, folder / ASKED)
    for file in sorted(runs.glob(f"*/*/{FIGURES}")):
        record = json.loads(file.read_text(encoding="utf-8"))
        record.pop("detail", None)
        copy = folder / file.relative_to(runs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
