"""`app.cli ask`: other words over a run that was indexed, without looking at its photos again."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.detect_arguments import UsageError, add_prompts, vocabulary_of
from app.commands.detect_begin import model_of
from app.commands.detection_options import add_detection, detection_changes
from app.commands.vocabulary_notes import print_vocabulary
from app.runs import sources
from app.runs.export import export_coco
from app.runs.files import SourceError, readable
from app.runs.store import Run
from detclipv2.inference.images import ImageError
from detclipv2.inference.postprocess import class_thresholds

if TYPE_CHECKING:
    import supervision as sv

    from app.index.ask import Found
    from app.runs.records import ImageRow
    from detclipv2.inference.predictor import Predictor
    from detclipv2.language.vocabulary import Vocabulary
    from detclipv2.serving import DetectSettings

NEAR = 0.05
"""With --exact photos with a score this close to a threshold are looked at again; eight bits and
regions that were not kept mostly move a score by less."""


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    ask = commands.add_parser(
        "ask",
        help="ask a run for other words, without looking at its photos again",
        description="Boxes of any words over the photos of a run that was indexed; seconds for "
        "thousands of photos.",
    )
    ask.add_argument("run", type=Path, help="the run's folder")
    add_prompts(ask)
    add_detection(ask, "threshold", "nms_iou", "max_boxes", "one_name", "whole_things", lists=True)
    ask.add_argument("--out", type=Path, metavar="FILE", help="write the boxes as COCO JSON")
    ask.add_argument("--into", type=Path, metavar="DIR", help="keep them as a run of their own")
    ask.add_argument(
        "--exact",
        action="store_true",
        help="look again at photos whose scores lie near a threshold",
    )
    ask.add_argument("--model", metavar="NAME", help="where the run's model is now")
    ask.set_defaults(act=run_ask)


def run_ask(arguments: argparse.Namespace) -> int:
    """Answer, write what is wanted, and say what was found.

    Raises:
        UsageError: words that cannot be used, or a folder that is taken.
        RunIndexError: the run has no index, or one of another model.
    """
    from app.engine import Engine
    from app.index.answer import answers_of, keep_answer, stored_settings
    from app.index.build import index_of

    if arguments.into is not None and (arguments.into / "run.json").exists():
        raise UsageError(f"{arguments.into} holds a run already; name another folder")
    try:
        vocabulary, changes = vocabulary_of(arguments), detection_changes(arguments)
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    run = Run(arguments.run)
    index = index_of(run)
    engine = Engine.load(arguments.model or model_of(run), photos=1)
    vocabulary = engine.predictor.vocabulary(vocabulary)
    print_vocabulary(vocabulary, lambda line: print(line, file=sys.stderr))
    settings = replace(engine.list_defaults, **changes)
    stored = stored_settings(settings)
    start = time.perf_counter()
    known, rows = answers_of(run, index, engine, vocabulary, stored)
    seconds = time.perf_counter() - start
    again = 0

    def look_again(row: ImageRow, one: Found) -> sv.Detections | None:
        nonlocal again
        if not _near(one, vocabulary, settings):
            return None
        again += 1
        return _fresh(engine.predictor, row.ref, vocabulary, stored)

    with ExitStack() as stack:
        folder = arguments.into
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
        answer = keep_answer(
            folder,
            engine,
            vocabulary,
            settings,
            known,
            rows,
            source=f"asked of {readable(arguments.run)}",
            begun_by=run.settings.begun_by,
            look_again=look_again if arguments.exact else None,
        )
        if arguments.out is not None:
            export_coco(answer, arguments.out)
        counts = answer.counts()
        for name, number in answer.class_counts().items():
            print(f"{number:>7,}  {readable(name)}")
        print(
            f"{counts.done:,} of {len(known):,} photos have boxes; asked in {seconds:.1f} s"
            + (f", {again:,} photos looked at again" if arguments.exact else "")
        )
        if missing := len(rows) - len(known):
            print(f"{missing:,} photos are not in the index; look at them again to have them")
    return 0


def _near(found: Found, vocabulary: Vocabulary, settings: DetectSettings) -> bool:
    """Whether a score of the photo could lie on the other side of its threshold."""
    thresholds = class_thresholds(vocabulary, settings.threshold).numpy()
    return bool((abs(found.scores - thresholds[found.classes]) < NEAR).any())


def _fresh(
    predictor: Predictor, ref: Any, vocabulary: Vocabulary, settings: DetectSettings
) -> sv.Detections | None:
    """The photo looked at again; None where it cannot be read any more."""
    try:
        return predictor.predict(sources.read(ref), vocabulary, settings)
    except (SourceError, ImageError, OSError) as error:
        print(f"not looked at again: {error}", file=sys.stderr)
        return None
