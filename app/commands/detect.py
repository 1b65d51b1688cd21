"""`app.cli detect`: a run over files, archives, addresses or a Label Studio project."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.detect_arguments import (
    DETECTION_FLAGS,
    MODEL,
    UsageError,
    detection_options,
    vocabulary_of,
)
from app.commands.vocabulary_notes import print_vocabulary
from app.labelstudio.push.task_file import FORMAT, write_tasks
from app.runs import sources
from app.runs.export import export, export_coco
from app.runs.files import SourceError, readable
from app.runs.pictures import Pictures
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run

if TYPE_CHECKING:
    from app.engine import Engine
    from app.labelstudio.api.image_reader import TaskImages

Say = Callable[[str], None]

OK, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def run_detect(arguments: argparse.Namespace, say: Say) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: it cannot start.
    """
    for flag, folder in (("--out", arguments.out), ("--run", arguments.run)):
        if folder is not None:
            _check_writable(flag, folder)
    try:
        with ExitStack() as stack:
            begin = _create if arguments.resume is None else _resume
            run, engine = begin(arguments, stack)
            stack.callback(run.close)
            return _work(run, engine, _reader(arguments), arguments, say)
    except (RunError, SourceError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def _check_writable(flag: str, folder: Path) -> None:
    """Find out before hours of work whether results can be written; nothing is left behind."""
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir():
            raise UsageError(f"{flag} {folder}: {there} is a file; name a folder")
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        raise UsageError(f"{flag} {folder} cannot be written ({error}); name another") from error


def _resume(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
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
    engine = _load(arguments.model or _model_of(run), run.settings.size, whole)
    if arguments.threshold is not None:
        run.apply(run.view.prompts, arguments.threshold)
    if arguments.retry_failed:
        run.retry_failed()
    return run, engine


def _model_of(run: Run) -> str:
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


def _check_unchanged(arguments: argparse.Namespace, run: Run) -> None:
    """A run's boxes are all made in one way; a threshold only filters them."""
    begun = run.settings
    options = detection_options(arguments)
    asked = {DETECTION_FLAGS[name]: (options[name], getattr(begun, name)) for name in options}
    asked.pop("--threshold", None)
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


def _create(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
    """A new run, in a folder that `stack` removes if nobody named one; cheap mistakes go first."""
    from app.engine_types import Settings
    from detclipv2.detectors.errors import DetectorError
    from detclipv2.language.vocabulary import VocabularyError

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
    options = detection_options(arguments)
    try:
        vocabulary = vocabulary_of(arguments)
        Settings(**{name: options[name] for name in options.keys() - {"size", "floor"}})
    except (VocabularyError, DetectorError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    engine = _load(arguments.model or MODEL, arguments.size, len(images))
    vocabulary = engine.predictor.vocabulary(vocabulary)
    print_vocabulary(vocabulary, lambda line: print(line, file=sys.stderr))
    source = readable(" ".join(arguments.paths))
    settings = settings_of(
        engine,
        vocabulary.serialise(),
        **options,
        source=source or f"Label Studio project {arguments.project}",
    )
    folder = arguments.run
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
    return Run.create(folder, settings, images), engine


def _load(model: str, size: int | None, photos: int) -> Engine:
    from app.engine import Engine
    from detclipv2.detectors.errors import DetectorError

    try:
        return Engine.load(model, size=size, photos=photos)
    except DetectorError as error:
        raise UsageError(f"{error}; name the checkpoint with --model") from error


def _images(arguments: argparse.Namespace) -> list[ImageRef]:
    if arguments.project is None:
        skip = [arguments.out / "pictures"] if arguments.out else []
        return sources.find_images(arguments.paths, skip=skip, every=arguments.every)
    from app.labelstudio.api.connection import Connection
    from app.labelstudio.api.images import images_of_project

    return images_of_project(
        Connection.from_environment(), arguments.project, only_unlabelled=arguments.only_unlabelled
    )


def _reader(arguments: argparse.Namespace) -> Callable[[ImageRef], bytes]:
    hosts = sources.Hosts.of(arguments.hosts)

    @cache
    def tasks() -> TaskImages:
        from app.labelstudio.api.connection import Connection
        from app.labelstudio.api.image_reader import TaskImages

        return TaskImages(Connection.from_environment(), hosts=hosts)

    def read(image: ImageRef) -> bytes:
        return sources.read(image, hosts) if image.task is None else tasks().read(image)

    return read


def _work(
    run: Run,
    engine: Engine,
    read: Callable[[ImageRef], bytes],
    arguments: argparse.Namespace,
    say: Say,
) -> int:
    """Look at every pending image, draw, export."""
    from tqdm import tqdm

    from app.runs.jobs import process

    missed: list[str] = []

    def on_missing(what: str) -> None:
        missed.append(what)
        tqdm.write(f"failed: {what}", file=sys.stderr)

    pictures = None
    if arguments.out is not None and not arguments.no_pictures:
        pictures = Pictures(run, arguments.out / "pictures", on_missing)
    again = f"; go on with --resume {run.folder}" if _kept(arguments) else ""
    before = run.counts()
    code = OK
    boxes = 0
    try:
        with (
            tqdm(
                total=before.total,
                initial=before.processed,
                unit="img",
                file=sys.stderr,
                dynamic_ncols=True,
            ) as bar,
            closing(process(run, engine.predictor, read)) as outcomes,
        ):
            for outcome in outcomes:
                if outcome.state == "failed":
                    bar.write(f"failed: {outcome.reason}", file=sys.stderr)
                else:
                    boxes += len(run.boxes(outcome.row))
                    if pictures is not None and outcome.image is not None:
                        pictures.draw(outcome.row, outcome.image)
                bar.update()
                bar.set_postfix(boxes=boxes, refresh=False)
    except (KeyboardInterrupt, OSError, sqlite3.Error) as error:  # of the ledger, e.g. a full disk
        counts = run.counts()
        done = counts.done + counts.empty
        pressed = isinstance(error, KeyboardInterrupt)
        if not pressed and not done:
            raise
        code = INTERRUPTED if pressed else SOME_FAILED
        why = "" if pressed else f" ({error})"
        say(f"stopped after {done} of {counts.total} images{why}; what is done is written{again}")
    finally:
        if pictures is not None:
            pictures.reserved.release()
    try:
        written = _write(run, read, arguments, pictures, on_missing)
    except KeyboardInterrupt:
        say(f"stopped before all results were written{again or '; start again'}")
        return INTERRUPTED
    return _summarise(run, written, missed, code, arguments, say)


def _write(
    run: Run,
    read: Callable[[ImageRef], bytes],
    arguments: argparse.Namespace,
    pictures: Pictures | None,
    on_missing: Say,
) -> list[Path]:
    """COCO, pictures that are missing or out of date, exports; returns what to look at."""
    written = []
    if arguments.out is not None:
        # The boxes first: pictures may take the room that is left.
        file = arguments.out / "detections.json"
        written.append(export_coco(run, file))
        drawn = {} if pictures is None else pictures.complete(read)
        extra = {name: {"picture": f"pictures/{path.name}"} for name, path in drawn.items()}
        if extra:
            try:
                export_coco(run, file, extra=extra)
            except OSError as error:
                on_missing(f"the names of the pictures, in {file}: {error}")
    folder = (run.folder if _kept(arguments) else arguments.out) / "exports"
    for kind in arguments.formats:
        try:
            if kind == FORMAT:
                written.append(write_tasks(run, folder, arguments.image_root))
            else:
                written.append(export(run, kind, folder, read=read, on_missing=on_missing))
        except OSError as error:
            on_missing(f"--format {kind}: {error}")
    return written


def _summarise(
    run: Run,
    written: list[Path],
    missed: list[str],
    code: int,
    arguments: argparse.Namespace,
    say: Say,
) -> int:
    """What was done, in words; returns the exit code."""
    counts = run.counts()
    if counts.failed:
        say(f"{counts.failed} of {counts.total} images failed (named above)")
    if missed:
        say(f"{len(missed)} files could not be written (named above)")
    total = sum(run.class_counts().values())
    places = ", ".join(map(readable, written or [run.folder]))
    print(f"{counts.done + counts.empty} images, {total} boxes → {places}")
    if _kept(arguments):
        states = f"{counts.done} with boxes, {counts.empty} empty, {counts.failed} failed"
        print(f"{states}; run folder {readable(run.folder)}")
    return code or (SOME_FAILED if counts.failed or missed else OK)


def _kept(arguments: argparse.Namespace) -> bool:
    """Whether the run's folder stays; without --run or --resume it is temporary."""
    return arguments.run is not None or arguments.resume is not None
