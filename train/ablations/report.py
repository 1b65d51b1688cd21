"""Tables of ablations from their run folders.

    python -m train.ablations.report RUNS --out FILE.md [--figures ap50 ar100] [--keep FOLDER]
        [--tuned LABEL=FOLDER …]

RUNS is the `--out` of train.ablate. Each of the paper's tables that was asked for gets a Markdown
table, sentences on where the differences point, and a picture beside FILE; what was asked for and
is not there is listed. `--figures` shows others than AP, the first of them also in the picture.
`--keep` copies the figures, a few hundred bytes a run, to a folder that train.ablate can go on from
and train.ablations.report can read again. `--tuned` puts fine-tunings side by side, each by its
`out` folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from detclipv2.command import run_command
from train.ablations.row import Row
from train.ablations.runs import Runs, keep, read_runs
from train.ablations.significance import (
    Estimate,
    difference,
    difference_by_seed,
    estimate,
    sentence,
)
from train.ablations.tables import ROWS
from train.ablations.tuning_report import Tuned, read_tunings, tuning_section

_TITLES = {"open": "Open problems", "types": "Data types"}


def table_of(rows: Sequence[Row], runs: Runs, figures: Sequence[str]) -> str:
    """A table as Markdown, with its sentences and what is missing.

    Args:
        rows: of one of the paper's tables.
        runs: what there is.
        figures: of which the means are shown.
    """
    references = {row.against for row in rows if row.name in runs.asked}
    lines = [
        f"| row | paper: AP | paper: cost | {' | '.join(figures)} | runs | images/s | minutes |",
        "|---" * (6 + len(figures)) + "|",
        *(_line(row, runs, figures, row.name in references) for row in rows),
    ]
    parts = ["\n".join(lines)]
    for figure in figures:
        if lines := _sentences(rows, runs, figure):
            parts.append("\n".join([f"{figure}:", "", *lines]))
    if gaps := _gaps(rows, runs, figures):
        parts.append("Missing:\n\n" + "\n".join(gaps))
    return "\n\n".join(parts)


def _line(row: Row, runs: Runs, figures: Sequence[str], bold: bool) -> str:
    done = runs.trained.get(row.name, [])
    if row.change is None:
        absent = "quoted"
    else:
        absent = "missing" if row.name in runs.asked else "not asked for"
    every = [runs.values(row.name, figure) for figure in figures]
    cells = (
        f"**{row.label}**" if bold else row.label,
        "–" if row.paper.ap is None else f"{row.paper.ap:.1f}",
        row.paper.cost() or "–",
        *(str(estimate(list(values.values()))) if values else absent for values in every),
        str(len(done)),
        _mean([r.images_per_second for r in done]),
        _mean([r.minutes for r in done]),
    )
    return f"| {' | '.join(cells)} |"


def _sentences(rows: Sequence[Row], runs: Runs, figure: str) -> list[str]:
    by_name = {row.name: row for row in rows}
    lines = []
    for row in rows:
        if not row.against:
            continue
        reference = by_name[row.against]
        values, others = (runs.values(r.name, figure) for r in (row, reference))
        if not (values and others):
            continue
        printed = None
        # The paper says nothing of recalls.
        compared = figure.startswith("ap")
        if compared and row.paper.ap is not None and reference.paper.ap is not None:
            printed = round(row.paper.ap - reference.paper.ap, 1)
        alike = row.data == reference.data
        apart = difference([*values.values()], [*others.values()])
        ours = difference_by_seed(values, others) if alike else apart
        lines.append(f"- {sentence(row.label, reference.label, ours, printed)}")
    return lines


def _gaps(rows: Sequence[Row], runs: Runs, figures: Sequence[str]) -> list[str]:
    """Runs that were asked for and are not there, or lack a figure."""
    lines = []
    for row in rows:
        gaps = list(runs.missing.get(row.name, []))
        gaps += [
            f"seed {run.seed} has no {figure}"
            for run in runs.trained.get(row.name, [])
            for figure in figures
            if figure not in run.figures
        ]
        if gaps:
            lines.append(f"- {row.label}: {', '.join(gaps)}")
    return lines


def _mean(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{estimate(there).value:.1f}" if there else "–"


def write_report(
    folder: Path,
    out: Path,
    figures: Sequence[str] = ("ap",),
    tuned: Mapping[str, Tuned] | None = None,
) -> None:
    """Write the Markdown file, and a PNG a table beside it.

    Args:
        folder: of train.ablate.
        out: the file.
        figures: short names, see `judges`; the first is drawn.
        tuned: fine-tunings by what to call them.

    Raises:
        ValueError: `folder` has no ablations, or finished runs but none with such a figure.
    """
    runs = read_runs(folder)
    known = dict.fromkeys(f for done in runs.trained.values() for r in done for f in r.figures)
    if known and (unknown := [figure for figure in figures if figure not in known]):
        raise ValueError(f"no figure {unknown[0]!r}; known: {', '.join(known)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = ", ".join(f"{k} {v}" for k, v in runs.settings.items() if v)
    parts = [
        f"# Ablations: {settings}",
        f"{' and '.join(figures)}: zero-shot, in percent, as mean ± half of a 95 % t-interval over "
        "the seeds. Differences are against the row in bold, or the one named: on the same data "
        "seed by seed, for these runs see the same batches, else with Welch's interval. Each "
        "stands for itself, so of twenty one may mislead. The paper's AP is LVIS minival's fixed "
        "AP of Swin-T or L, to be compared by direction only. Parts of a row that the checkpoint "
        "all begin with lacks (Table 3's plain head, Table 13's L) begin at random: a short run "
        "shows first of all what they have to catch up.",
    ]
    for table in dict.fromkeys(row.table for row in ROWS):
        rows = [row for row in ROWS if row.table == table]
        if not any(row.name in runs.asked for row in rows):
            continue
        title = _TITLES.get(table, f"Table {table}")
        parts += [f"## {title}", table_of(rows, runs, figures)]
        found = {r.label: list(runs.values(r.name, figures[0]).values()) for r in rows}
        means = {label: estimate(values) for label, values in found.items() if values}
        if means:
            picture = out.with_name(f"{out.stem}-{table}.png")
            plot(title, rows, means, figures[0], picture)
            parts.append(f"![{title}]({picture.name})")
    if tuned:
        parts.append(tuning_section(tuned))
    out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def plot(
    title: str, rows: Sequence[Row], means: dict[str, Estimate], figure: str, out: Path
) -> None:
    """Our means with their intervals, a line a row; beside them the paper's AP, where it has one.

    Args:
        title: of the picture.
        rows: of the table, from above.
        means: ours, by label; rows without one are drawn empty.
        figure: its name.
        out: a PNG file.
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(8, 1.2 + 0.4 * len(rows)), layout="constrained")
    height = {row.label: -index for index, row in enumerate(rows)}
    printed = [(row.paper.ap, height[row.label]) for row in rows if row.paper.ap is not None]
    panels = list(picture.subplots(1, 2 if printed else 1, sharey=True, squeeze=False)[0])
    if printed:
        panels[0].plot([ap for ap, _ in printed], [y for _, y in printed], "o", color="0.4")
        panels[0].set_xlabel("AP, the paper")
    for label, mean in means.items():
        panels[-1].errorbar(
            mean.value, height[label], xerr=mean.half, fmt="o", color="C0", capsize=3
        )
    panels[-1].set_xlabel(f"{figure}, ours")
    panels[0].set_yticks(list(height.values()), list(height))
    for axes in panels:
        axes.set_ylim(-len(rows) + 0.5, 0.5)
        axes.grid(axis="x", alpha=0.3)
    picture.suptitle(title)
    picture.savefig(out, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of train.ablate")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--figures", nargs="+", default=["ap"], help="what the tables show")
    parser.add_argument("--keep", type=Path, help="folder for a copy of the figures")
    parser.add_argument(
        "--tuned", nargs="+", default=[], metavar="LABEL=FOLDER", help="of train.finetune"
    )
    options = parser.parse_args(arguments)
    try:
        write_report(options.runs, options.out, options.figures, read_tunings(options.tuned))
        if options.keep:
            keep(options.runs, options.keep)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    run_command(main)
