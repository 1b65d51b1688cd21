"""`app.cli learn`: a run's classes learned from what was reviewed, and new boxes for the rest."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from app.commands.detect_begin import model_of
from app.runs.files import readable
from app.runs.store import Run


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    learn = commands.add_parser(
        "learn",
        help="learn a run's classes from its decisions; the photos that are left get new boxes",
        description="Each class is learned from the photos that `decide` marked as reviewed, over "
        "the run's index: no photo is looked at again. A class keeps its words' scores and "
        "threshold until cross-validation shows that learned ones spare more.",
    )
    learn.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    learn.add_argument("--undo", action="store_true", help="put the words' boxes back")
    learn.add_argument(
        "--out", type=Path, metavar="FILE", help="also write what was learned, for --adapted"
    )
    learn.add_argument("--model", metavar="NAME", help="where the run's model is now")
    learn.set_defaults(act=run_learn)


def run_learn(arguments: argparse.Namespace) -> int:
    """Learn, and say what changed.

    Raises:
        LearnedError: nothing was reviewed, or the run's model is another one.
        RunIndexError: the run has no index.
    """
    from app.adaptation.learn_run import learn_run, unlearn_run, words_by
    from app.adaptation.report_line import report_line
    from app.engine import Engine

    with closing(Run(arguments.run)) as run:
        if arguments.undo:
            undone = unlearn_run(run)
            print("the words' boxes are back" if undone else "nothing was learned")
            return 0

        predictor = Engine.load(arguments.model or model_of(run), photos=1).predictor
        before = sum(run.class_counts().values())
        start = time.perf_counter()
        done = learn_run(run, words_by(lambda: predictor))
        seconds = time.perf_counter() - start
        if arguments.out is not None:
            done.learned.save(arguments.out)
        for report in done.learned.adapted.reports:
            print(readable(report_line(report)))
        after = sum(run.class_counts().values())
        print(
            f"learned from {done.learned.photos:,} reviewed photos; {done.rescored:,} others have "
            f"new boxes ({before:,} before, {after:,} now); {seconds:.1f} s"
        )
        if done.unindexed:
            print(f"{done.unindexed:,} reviewed photos are not in the index and taught nothing")
    return 0
