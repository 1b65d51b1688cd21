"""How `app.cli detect` begins: a new run, or one that goes on, with its model."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.adaptation.prior import adapted_of as begun_with
from app.adaptation.state import LearnedError
from app.commands.adapted_option import adapted_of
from app.commands.detect_arguments import FLOOR_FLAG, MODEL, UsageError, vocabulary_of
from app.commands.detection_options import OPTIONS, detection_changes
from app.commands.vocabulary_notes import print_vocabulary
from app.runs import sources
from app.runs.files import readable
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.serving import FLOOR, DetectChanges

if TYPE_CHECKING:
    from app.engine import Engine
    from detclipv2.inference.adapted_classes import AdaptedClasses


def resume(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
    """The run that goes on, perhaps with another threshold, and its model."""
    words = arguments.prompts or arguments.prompts_file
    if arguments.paths or arguments.run or words or arguments.only_unlabelled:
        raise UsageError(
            "--resume goes on as the run was begun; leave out paths, prompts, --only-unlabelled "
            "and --run"
        )
    run = Run(arguments.resume)
    _check_unchanged(arguments, run)
    # Of all its images, so that it ends as if it had never stopped.
    whole = run.counts().total
    engine = _load(
        arguments.model or model_of(run),
        asdict(run.settings.detection),
        whole,
        adapted_of(arguments) or _adapted_of_run(run),
    )
    if arguments.threshold is not None:
        run.apply(run.view.prompts, arguments.threshold)
    if arguments.retry_failed:
        run.retry_failed()
    return run, engine


def model_of(run: Run) -> str:
    """Where the run's checkpoint lies; that it is the same one is checked by its digest.

    Raises:
        RunError: a folder that is not there any more.
    """
    weights = run.settings.weights
    if weights and not Path(weights).exists():
        raise RunError(
            f"the checkpoint folder {weights} is gone, which {run.folder} was begun with; put it "
            "back, or say with --model where it is now"
        )
    return weights or run.settings.model


def _adapted_of_run(run: Run) -> AdaptedClasses | None:
    """What the run was begun with; that it is the same is checked by its digest."""
    try:
        return begun_with(run)
    except LearnedError as error:
        raise RunError(f"{error}; or say with --adapted where it was read from") from error


def _check_unchanged(arguments: argparse.Namespace, run: Run) -> None:
    """A run's boxes are all made in one way; a threshold only filters them."""
    begun = run.settings
    asked: dict[str, tuple[Any, Any]] = {
        OPTIONS[name][0]: (value, getattr(begun.detection, name))
        for name, value in _asked(arguments).items()
        if name != "threshold"
    }
    if arguments.floor is not None:
        asked[FLOOR_FLAG] = arguments.floor, begun.floor
    project = arguments.project
    if project is not None and not begun.source.endswith(f"project {project}"):
        asked["--project"] = project, begun.source
    for flag, (value, had) in asked.items():
        if value != had:
            had = "the model's own" if had is None else had
            raise UsageError(
                f"{flag} {value}: {run.folder} was begun with {had}; leave {flag} out, or begin "
                "another run"
            )


def _asked(arguments: argparse.Namespace) -> DetectChanges:
    try:
        return detection_changes(arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error


def create(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
    """A new run, in a folder that `stack` removes if nobody named one; cheap mistakes go first."""
    if arguments.out is None and arguments.run is None:
        raise UsageError("one of the arguments --out --run --resume is required")
    if arguments.prompts is None and arguments.prompts_file is None:
        raise UsageError("one of the arguments --prompts --prompts-file is required")
    if bool(arguments.paths) == (arguments.project is not None):
        raise UsageError("name images to look at, or a Label Studio project with --project")
    if arguments.retry_failed:
        raise UsageError("--retry-failed belongs to --resume RUN")
    if arguments.run is not None and (arguments.run / "run.json").exists():
        raise UsageError(
            f"{arguments.run} holds a run already; go on with --resume {arguments.run}"
        )
    images = _images(arguments)
    try:
        vocabulary = vocabulary_of(arguments)
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    asked = _asked(arguments)
    engine = _load(arguments.model or MODEL, asked, len(images), adapted_of(arguments))
    vocabulary = engine.predictor.vocabulary(vocabulary)
    print_vocabulary(vocabulary, lambda line: print(line, file=sys.stderr))
    source = readable(" ".join(arguments.paths))
    settings = settings_of(
        engine,
        vocabulary.serialise(),
        floor=FLOOR if arguments.floor is None else arguments.floor,
        source=source or f"Label Studio project {arguments.project}",
        **asked,
    )
    folder = arguments.run
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
    return Run.create(folder, settings, images), engine


def _load(model: str, changes: Any, photos: int, adapted: AdaptedClasses | None) -> Engine:
    from app.engine import Engine
    from detclipv2.detectors.errors import DetectorError

    try:
        return Engine.load(model, changes, photos=photos, adapted=adapted)
    except DetectorError as error:
        raise UsageError(f"{error}; name the checkpoint with --model") from error
    except ValueError as error:
        raise UsageError(f"--adapted: {error}") from error


def _images(arguments: argparse.Namespace) -> list[ImageRef]:
    if arguments.project is None:
        skip = [arguments.out / "pictures"] if arguments.out else []
        return sources.find_images(arguments.paths, skip=skip, every=arguments.every)
    from app.labelstudio.api.connection import Connection
    from app.labelstudio.api.images import images_of_project

    return images_of_project(
        Connection.from_environment(), arguments.project, only_unlabelled=arguments.only_unlabelled
    )
