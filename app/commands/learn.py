"""`app.cli learn`: a run's classes learned from what was reviewed, and new boxes for the rest."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.detect_begin import model_of
from app.runs.files import readable
from app.runs.store import Run

if TYPE_CHECKING:
    from app.adaptation.adapt import ClassReport
    from app.adaptation.words import Words
    from detclipv2.language.vocabulary import Vocabulary


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
    learn.add_argument("--model", metavar="NAME", help="where the run's model is now")
    learn.set_defaults(act=run_learn)


def run_learn(arguments: argparse.Namespace) -> int:
    """Learn, and say what changed.

    Raises:
        LearnedError: nothing was reviewed, or the run's model is another one.
        RunIndexError: the run has no index.
    """
    from app.adaptation.learn_run import learn_run, unlearn_run
    from app.adaptation.words import Words
    from app.engine import Engine

    with closing(Run(arguments.run)) as run:
        if arguments.undo:
            undone = unlearn_run(run)
            print("the words' boxes are back" if undone else "nothing was learned")
            return 0

        def words_of(vocabulary: Vocabulary) -> tuple[Words, Collection[str], float]:
            predictor = Engine.load(arguments.model or model_of(run), photos=1).predictor
            words = Words.of(predictor, vocabulary)
            return words, predictor.region_fingerprints, predictor.model.serving.soft_nms

        before = sum(run.class_counts().values())
        start = time.perf_counter()
        done = learn_run(run, words_of)
        seconds = time.perf_counter() - start
        for report in done.learned.adapted.reports:
            print(_line(report))
        after = sum(run.class_counts().values())
        print(
            f"learned from {done.learned.photos:,} reviewed photos; {done.rescored:,} others have "
            f"new boxes ({before:,} before, {after:,} now); {seconds:.1f} s"
        )
        if done.unindexed:
            print(f"{done.unindexed:,} reviewed photos are not in the index and taught nothing")
    return 0


def _line(report: ClassReport) -> str:
    """What became of a class, and how sure that is."""
    from app.labelstudio.learn.calibrate import wilson

    name = readable(report.name)
    if report.basis == "words":
        return f"{name}: words as before; {report.boxes} reviewed boxes show no gain"
    low, high = wilson(report.right, report.shown)
    return (
        f"{name}: {report.basis}, threshold {report.threshold:.2f}; of {report.shown} boxes "
        f"{report.right} right, precision {low:.2f} to {high:.2f}; spares "
        f"{report.seconds / 60:.1f} min on the reviewed photos, {report.seconds_words / 60:.1f} "
        "before"
    )
