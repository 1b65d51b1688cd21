"""Train and judge rows of the paper's tables, then write the tables beside the paper's.

    python -m train.ablate TABLE [ROW …] --preset nano --root DATA --out runs/ablate [key=value …]
    python -m train.ablate --list

TABLE is 2a … 2f, 3, 4, 5, 12, 13, open or types, 2 for all of Table 2, or all; a ROW is named as
--list prints it, with or without its table. Every row is trained once a seed in a run folder of
its own; rows that come to the same experiment share it. The same command again goes on where it
stopped.
`key=value` changes the base of all rows, as in train.pretrain; `--steps` its length, and that of
rows with more or less data in proportion.

At the end every run is judged zero-shot: on OV-mini under DATA (with --quick on its development set
alone), or with --annotations and --images on an LVIS file, as in the paper. swin_t wants many
devices: torchrun … -m train.ablate …
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detclipv2.command import run_command
from train.ablations.bases import BASES, Base
from train.ablations.judges import Judge, on_coco_dev, on_lvis, on_ov_mini
from train.ablations.report import write_report
from train.ablations.row import Row
from train.ablations.runs import ASKED, FAILED, FIGURES
from train.ablations.tables import find_rows, listing
from train.experiment import Experiment, describe, override
from train.loop.distributed import World, world
from train.loop.json_files import write_json
from train.loop.kept_files import copy_kept, move_kept
from train.loop.run_log import speed
from train.loop.run_state import remove_state
from train.pretrain import pretrain

logger = logging.getLogger(__name__)

# What changes no result, or is a run's own.
_OUTSIDE = ("out", "root", "seed", "workers", "threads")
_WEEK = 7 * 24 * 60.0


@dataclass(frozen=True)
class Settings:
    """What all runs of an ablation have in common.

    Attributes:
        preset: a name for the base.
        steps: of the usual base; 0 for its own.
        overrides: `key=value` words for the base.
        smoke: a few steps only.
    """

    preset: str
    steps: int = 0
    overrides: tuple[str, ...] = ()
    smoke: bool = False


def experiment_of(row: Row, base: Base, settings: Settings) -> Experiment:
    """The row's experiment, but for its folder and its seed.

    Raises:
        ValueError: an override that the usual base does not know either.
    """
    usual, own = base(Row("usual/"), settings.smoke), base(row, settings.smoke)
    override(usual, settings.overrides)
    names = {stream.name for stream in own.streams}
    words = [w for w in settings.overrides if not _of_another_stream(w, names)]
    own = override(own, words)
    steps = own.loop.steps
    if settings.steps:
        steps = max(1, round(steps * settings.steps / usual.loop.steps))
    loop = dataclasses.replace(own.loop, steps=steps, eval_minutes=0.0)
    return row.experiment(dataclasses.replace(own, loop=loop))


def _of_another_stream(word: str, names: set[str]) -> bool:
    path = word.partition("=")[0].split(".")
    return path[0] == "streams" and len(path) > 1 and path[1] not in names


def fingerprint(experiment: Experiment) -> str:
    """Ten hexadecimal digits that differ where the results may differ, but for the seed."""
    decisive = {k: v for k, v in describe(experiment).items() if k not in _OUTSIDE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:10]


def run_folder(out: Path, row: Row, digits: str) -> Path:
    """Where the runs of an experiment lie, a folder a seed; the first row to ask names it."""
    existing = sorted(out.glob(f"*-{digits}"))
    slug = re.sub(r"[^a-z0-9._]+", "-", row.name.casefold()).strip("-")
    return existing[0] if existing else out / f"{slug}-{digits}"


def ablate(
    rows: Sequence[Row],
    base: Base,
    judge: Judge,
    settings: Settings,
    *,
    root: Path,
    out: Path,
    seeds: int = 3,
    here: World | None = None,
) -> bool:
    """Train and judge rows; what is there already stays.

    Args:
        rows: of any tables.
        base: gives what they are changes of.
        judge: gives a finished run's figures.
        settings: must be those that `out` was begun with.
        root: folder of the data.
        out: of all runs.
        seeds: 0 up to this.
        here: the processes that train together.

    Returns:
        False where it was asked to stop before the end.

    Raises:
        ValueError: `out` was begun with other settings, or the base lacks something.
    """
    here = here or World()
    experiments: dict[str, Experiment] = {}
    folders: dict[str, Path] = {}
    asked: dict[str, str] = {}
    for row in rows:
        experiment = experiment_of(row, base, settings)
        digits = fingerprint(experiment)
        experiments[digits] = experiment
        asked[row.name] = folders.setdefault(digits, run_folder(out, row, digits)).name
    note = _asked(out, settings, asked, seeds)
    here.barrier()
    if here.main:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / ASKED, note)
    for seed in range(seeds):
        for digits, experiment in experiments.items():
            place = folders[digits] / f"seed{seed}"
            done = here.objects((place / FIGURES).is_file())[0]
            own = dataclasses.replace(experiment, out=place, root=root, seed=seed)
            if not done and not _train_and_judge(own, out, judge, here):
                return False
    return True


def _train_and_judge(experiment: Experiment, shared: Path, judge: Judge, here: World) -> bool:
    """False where the run was asked to stop."""
    folder = experiment.out
    logger.info("%s: %d steps", folder, experiment.loop.steps)
    if here.main:
        folder.mkdir(parents=True, exist_ok=True)
        copy_kept(shared, folder)
    here.barrier()
    try:
        if pretrain(experiment, here).step < experiment.loop.steps:
            return False
    except FloatingPointError as error:
        # That a row cannot be trained is a result of it; the others can.
        logger.error("%s failed: %s", folder, error)
        if here.main:
            (folder / FAILED).write_text(f"{error}\n", encoding="utf-8")
        return True
    figures = judge(experiment, here)
    if here.main:
        assert figures is not None  # of the first process
        record = {
            "seed": experiment.seed,
            "steps": experiment.loop.steps,
            **speed(folder),
            **figures,
        }
        write_json(folder / FIGURES, record)
        (folder / FAILED).unlink(missing_ok=True)
        move_kept(folder, shared)
        remove_state(folder)
    here.barrier()
    return True


def _asked(out: Path, settings: Settings, folders: dict[str, str], seeds: int) -> dict[str, Any]:
    """What was asked for, with what was before; each row's folder and number of seeds."""
    written = json.loads(json.dumps(dataclasses.asdict(settings)))
    rows: dict[str, Any] = {}
    if (out / ASKED).is_file():
        earlier = json.loads((out / ASKED).read_text(encoding="utf-8"))
        if earlier["settings"] != written:
            raise ValueError(
                f"{out} was begun with {earlier['settings']}, not {written}; take another --out"
            )
        rows = earlier["rows"]
    for name, folder in folders.items():
        before = rows.get(name, {"folder": folder, "seeds": 0})
        if _digits(before["folder"]) != _digits(folder):
            raise ValueError(f"{out} has {name} with another base; take another --out")
        rows[name] = {"folder": folder, "seeds": max(seeds, before["seeds"])}
    # A row asked for earlier may come to an experiment that has its folder only now.
    now = {_digits(folder): folder for folder in folders.values()}
    for row in rows.values():
        row["folder"] = now.get(_digits(row["folder"]), row["folder"])
    return {"settings": written, "rows": rows}


def _digits(folder: str) -> str:
    """The fingerprint in a run folder's name."""
    return folder.rpartition("-")[2]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.list:
        print(listing())
        return
    try:
        rows, words = _chosen(options.words)
        settings = Settings(options.preset, options.steps or 0, tuple(words), options.smoke)
        judge: Judge = on_coco_dev if options.quick else on_ov_mini
        if options.annotations:
            judge = partial(on_lvis, annotations=options.annotations, images=options.images)
        with world(_WEEK) as here:
            finished = ablate(
                rows,
                BASES[options.preset],
                judge,
                settings,
                root=options.root,
                out=options.out,
                seeds=options.seeds,
                here=here,
            )
            if here.main:
                write_report(options.out, options.out / "report.md", options.figures)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))
    if not finished:
        sys.exit("stopped; the same command goes on")


def _chosen(words: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The rows, and the `key=value` words; some rows have an equals sign in their names too."""
    table, rest = words[0], words[1:]
    names = [n.casefold() for row in find_rows(table) for n in (row.name, row.label)]
    keys = {name.partition("=")[0] for name in names if "=" in name}
    overrides = [w for w in rest if "=" in w and w.casefold().partition("=")[0] not in keys]
    return find_rows(table, [w for w in rest if w not in overrides]), overrides


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="TABLE [ROW …] [key=value …]")
    parser.add_argument("--list", action="store_true", help="print all rows and stop")
    parser.add_argument("--preset", choices=tuple(BASES), default="nano")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a row")
    parser.add_argument("--steps", type=int, help="of the base, instead of its own")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data")
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"), help="of all runs")
    parser.add_argument("--figures", nargs="+", default=["ap"], help="what the tables show")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="judge on OV-mini's coco_dev only, in a fifth of the time",
    )
    parser.add_argument("--annotations", type=Path, help="LVIS file to judge on, not OV-mini")
    parser.add_argument("--images", type=Path, help="folder of its photos")
    options = parser.parse_intermixed_args(arguments)
    if not options.list and not options.words:
        parser.error("give a TABLE, or --list")
    if bool(options.annotations) != bool(options.images):
        parser.error("--annotations and --images go together")
    if options.seeds < 1 or (options.steps is not None and options.steps < 1):
        parser.error("--seeds and --steps must be positive")
    return options


if __name__ == "__main__":
    run_command(main)
