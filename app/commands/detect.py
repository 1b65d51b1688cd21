"""`app.cli detect`: a run over files, archives, addresses or a Label Studio project."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.detect_arguments import UsageError
from app.commands.detect_begin import create, resume
from app.labelstudio.push.task_file import FORMAT, write_tasks
from app.runs import sources
from app.runs.export import export, export_coco
from app.runs.files import SourceError, readable
from app.runs.pictures import Pictures
from app.runs.records import ImageRef, RunError
from app.runs.store import Run

if TYPE_CHECKING:
    from app.engine import Engine
    from app.labelstudio.api.image_reader import TaskImages
    from app.runs.jobs import Keep

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
            begin = create if arguments.resume is None else resume
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
            _indexing(run, engine, arguments) as keep,
            closing(process(run, engine.predictor, read, keep=keep)) as outcomes,
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


def _indexing(
    run: Run, engine: Engine, arguments: argparse.Namespace
) -> AbstractContextManager[Keep | None]:
    """A run that stays gets an index, unless nobody wants one."""
    from app.index.build import indexing

    if not _kept(arguments) or not arguments.index:
        return nullcontext()
    return indexing(run, engine.predictor)


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
