"""The threshold at which pre-labels save most minutes, and put it into a checkpoint.

    python -m train.evaluation.calibrate_lists CHECKPOINT SET[:PART] … [--write]

Sets are as for `train.evaluate --protocol minutes`; choose on others than you report on. The
threshold is that of the highest mean of what the sets save and of what short lists drawn from their
classes save, with one name a place and whole things only. --write puts it into CHECKPOINT's
configuration as `serving.list_threshold`; it changes no box and no fingerprint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from detclipv2.command import run_command
from detclipv2.datasets.labeled_set import LabeledSet
from detclipv2.detectors.open import open_predictor
from detclipv2.detectors.protocol import Detector
from train.evaluation.minutes import minutes

GRID = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def saved_by_threshold(
    detector: Detector[Any], sets: Sequence[LabeledSet], grid: Sequence[float] = GRID
) -> dict[float, dict[str, float]]:
    """Threshold → what each set, and each length of shorter lists, saves in percent.

    Args:
        detector: the detector.
        sets: exhaustively labelled.
        grid: thresholds.
    """
    found: dict[float, dict[str, float]] = {}
    settings = [replace(detector.list_defaults, threshold=threshold) for threshold in grid]
    for threshold, figures in zip(grid, minutes(detector, sets, *settings), strict=True):
        row = found.setdefault(threshold, {})
        for name, one in figures["minutes"]["sets"].items():
            row[f"{name}, all {one['classes']}"] = one["saved"]
            row |= {f"{name}, {n}": part["saved"] for n, part in one["by_length"].items()}
    return found


def best(found: dict[float, dict[str, float]]) -> float:
    """The threshold with the highest mean over the columns."""
    return max(found, key=lambda threshold: mean(found[threshold].values()))


def table(found: dict[float, dict[str, float]]) -> str:
    """What is saved as Markdown: a row a column of `found`, thresholds across."""
    names = next(iter(found.values()))
    lines = [
        f"| saved % at | {' | '.join(f'{t:g}' for t in found)} |",
        "|---" * (len(found) + 1) + "|",
    ]
    for name in names:
        lines.append(f"| {name} | {' | '.join(f'{row[name]:+.1f}' for row in found.values())} |")
    means = (mean(row.values()) for row in found.values())
    lines.append(f"| mean | {' | '.join(f'{value:+.1f}' for value in means)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help='"nano" or a checkpoint folder')
    parser.add_argument("sets", nargs="+", metavar="SET", help="FOLDER or FOLDER:PART")
    parser.add_argument("--write", action="store_true", help="into the checkpoint's config.json")
    options = parser.parse_args(arguments)
    file = Path(options.checkpoint) / "config.json"
    if options.write and not file.is_file():
        parser.error(f"--write needs a checkpoint folder, and {options.checkpoint} is none")
    try:
        sets = [LabeledSet.parse(text) for text in options.sets]
    except ValueError as error:
        parser.error(str(error))
    found = saved_by_threshold(open_predictor(options.checkpoint), sets)
    print(table(found))
    print(f"\nmost is saved at {best(found):g}")
    if options.write:
        config = json.loads(file.read_text(encoding="utf-8"))
        config["serving"]["list_threshold"] = best(found)
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
