"""Curves of simulated labeling as pictures.

python -m app.adaptation.plot FILE [FILE …] --out FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detclipv2.command import run_command

_COLUMNS = 4
_WAYS = {"words": ("words", "#8a8a8a"), "learned": ("learned", "#1764ab")}
_SHOWN = {"minutes": ("saved", "minutes saved, %"), "ap50": ("ap50", "AP50, %")}


def plot(curves: Sequence[Mapping[str, Any]], key: str, label: str, path: Path) -> None:
    """Draw one value of every set against reviewed photos, with intervals as bands.

    Args:
        curves: as `simulate --out` writes them.
        key: the value, "saved" or "ap50".
        label: of the upright axis.
        path: an SVG file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": "curves", "svg.fonttype": "none", "font.size": 8.0}
    rows = -(-len(curves) // _COLUMNS)
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9, 2.2 * rows), layout="constrained", facecolor="white")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axes, one in zip(grid.flat, curves, strict=False):
            photos = [point["reviewed"] for point in one["points"]]
            for way, (name, colour) in _WAYS.items():
                values = [point[key][way] for point in one["points"]]
                low, high = ([value[end] for value in values] for end in ("low", "high"))
                axes.fill_between(photos, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(photos, [value["mean"] for value in values], color=colour, label=name)
            axes.set_title(one["set"])
            axes.set_xlabel("reviewed photos")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
        for axes in grid.flat[len(curves) :]:
            axes.axis("off")
        grid[0, 0].legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> None:
    """Draw minutes and AP50 of the random orders in all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of `simulate --out`")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(argv)
    stored = [json.loads(file.read_text(encoding="utf-8")) for file in options.files]
    curves = [one for file in stored for one in file["curves"] if one["order"] == "random"]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, (key, label) in _SHOWN.items():
        plot(curves, key, label, options.out / f"learning_{name}.svg")


if __name__ == "__main__":
    run_command(main)
