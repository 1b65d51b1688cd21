"""`app.cli simulate`: what reviewing photos of a labelled set would bring."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.commands.detect_arguments import UsageError


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    simulate = commands.add_parser(
        "simulate",
        help="simulate reviews of labelled sets: AP50 and minutes saved on the photos left",
        description="Each set is indexed once, in a run folder under --work. Its boxes then stand "
        "for reviews: after so many photos its classes are learned, and the rest is judged.",
    )
    simulate.add_argument("checkpoint", help='"nano" or a checkpoint folder')
    simulate.add_argument(
        "sets",
        nargs="+",
        metavar="SET[:PART]",
        help="a folder with instances.json and images/; PART is train, val, test, odd or even",
    )
    simulate.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the runs")
    simulate.add_argument("--out", type=Path, metavar="FILE", help="the curves, as JSON")
    simulate.add_argument("--seeds", type=int, default=5, metavar="N", help="orders of the photos")
    simulate.add_argument("--steps", default="0,5,10,20,30,50", metavar="N,N", help="photos")
    simulate.add_argument(
        "--order",
        action="append",
        choices=("random", "queue", "variety"),
        help="which photos are reviewed first (default: random); again for another order",
    )
    simulate.add_argument("--photos", type=int, metavar="N", help="of each set, chosen at random")
    simulate.add_argument(
        "--fewest", type=int, default=1, metavar="N", help="boxes of a class, else it is left out"
    )
    simulate.set_defaults(act=run_simulate)


def run_simulate(arguments: argparse.Namespace) -> int:
    """Index, simulate, print, write.

    Raises:
        UsageError: a set or a number that cannot be used.
    """
    steps = _steps(arguments.steps)
    if arguments.seeds < 1:
        raise UsageError(f"--seeds {arguments.seeds}: at least one order is needed")
    from detclipv2.datasets.labeled_set import LabeledSet

    try:
        sets = [LabeledSet.parse(text) for text in arguments.sets]
    except ValueError as error:
        raise UsageError(str(error)) from error
    from tqdm import tqdm

    from app.adaptation.curves import FORMAT, curve, table
    from app.adaptation.labeled_run import index_set, read_labeled_run
    from app.adaptation.simulate import SimulationSettings, simulate
    from app.engine import Engine
    from app.formats.atomic import write_json
    from detclipv2.labeling.effort import COST

    engine = Engine.load(arguments.checkpoint, photos=1)
    curves = []
    for one in sets:
        folder = arguments.work / one.name.replace(":", "-")
        with tqdm(desc=one.name, unit="img") as bar:
            for done, total in index_set(folder, one, engine, arguments.photos):
                bar.total, bar.n = total, done
                bar.refresh()
        run = read_labeled_run(folder, one, engine, arguments.fewest)
        for order in arguments.order or ["random"]:
            settings = SimulationSettings(steps=steps, order=order)
            runs = [simulate(run, settings, seed) for seed in range(arguments.seeds)]
            counts = {"photos": len(run.truth), "classes": len(run.names)}
            curves.append({"set": one.name, "order": order, **counts, "points": curve(runs)})
    print(table(curves))
    print(f"\n{arguments.seeds} orders; {COST}")
    if arguments.out is not None:
        figures = {"format": FORMAT, "checkpoint": engine.fingerprint, "seeds": arguments.seeds}
        write_json(arguments.out, {**figures, "cost": str(COST), "curves": curves})
    return 0


def _steps(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts):
        raise UsageError(f"--steps {text!r:.60}: numbers of photos are wanted, as in 0,10,20")
    steps = tuple(int(part) for part in parts)
    if list(steps) != sorted(set(steps)):
        raise UsageError(f"--steps {text!r:.60}: numbers must rise")
    return steps
