"""`app.cli detect`: a run over files, archives, addresses or a Label Studio project."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.coco import write_bytes
from app.runs import sources
from app.runs.arguments import MODEL
from app.runs.export import export, to_coco
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run

if TYPE_CHECKING:
    from app.engine import Engine
    from app.labelstudio.images import TaskImages

Say = Callable[[str], None]

OK, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """The command cannot start; the message is one line and says what to do."""


def run_detect(arguments: argparse.Namespace, say: Say) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: it cannot start.
    """
    out: Path | None = arguments.out
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder")
    try:
        with ExitStack() as stack:
            begin = _create if arguments.resume is None else _resume
            run, engine = begin(arguments, stack)
            stack.callback(run.close)
            return _work(run, engine, _reader(arguments), arguments, say)
    except (RunError, sources.SourceError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def _resume(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
    """The run that goes on, and its model."""
    if arguments.paths or arguments.run or arguments.prompts or arguments.prompts_file:
        raise UsageError(
            "--resume goes on as the run was begun; leave out paths, prompts and --run"
        )
    run = Run(arguments.resume)
    engine = _load(arguments.model or run.settings.model, run.settings.size)
    if arguments.retry_failed:
        run.retry_failed()
    return run, engine


def _create(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Run, Engine]:
    """A new run, in a folder that `stack` removes if nobody named one; cheap mistakes go first."""
    from app.results import EngineError, Settings
    from detclipv2.language.vocabulary import Vocabulary, VocabularyError

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
        vocabulary = Vocabulary.parse(_prompts(arguments))
        Settings(arguments.threshold, arguments.nms, arguments.max_boxes, arguments.tiles)
    except (VocabularyError, EngineError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    engine = _load(arguments.model or MODEL, arguments.size)
    settings = settings_of(
        engine, vocabulary.serialise(), threshold=arguments.threshold, nms_iou=arguments.nms,
        max_boxes=arguments.max_boxes, size=arguments.size, tiles=arguments.tiles,
        floor=arguments.floor,
        source=" ".join(arguments.paths) or f"Label Studio project {arguments.project}",
    )  # fmt: skip
    folder = arguments.run
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
    return Run.create(folder, settings, images), engine


def _prompts(arguments: argparse.Namespace) -> str:
    if arguments.prompts is not None:
        return str(arguments.prompts)
    try:
        text: str = arguments.prompts_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--prompts-file {arguments.prompts_file}: {error}; name a UTF-8 text file"
        ) from error
    return text


def _load(model: str, size: int | None) -> Engine:
    from app.engine import Engine
    from app.results import EngineError

    try:
        return Engine.load(model, size=size)
    except EngineError as error:
        raise UsageError(f"{error}; name the checkpoint with --model") from error


def _images(arguments: argparse.Namespace) -> list[ImageRef]:
    if arguments.project is None:
        skip = [arguments.out / "pictures"] if arguments.out else []
        return sources.find_images(arguments.paths, skip=skip)
    from app.labelstudio.connection import Connection
    from app.labelstudio.images import images_of_project

    return images_of_project(
        Connection.from_environment(), arguments.project, only_unlabelled=arguments.only_unlabelled
    )


def _reader(arguments: argparse.Namespace) -> Callable[[ImageRef], bytes]:
    hosts = sources.Hosts.of(arguments.hosts)

    @cache
    def tasks() -> TaskImages:
        from app.labelstudio.connection import Connection
        from app.labelstudio.images import TaskImages

        return TaskImages(Connection.from_environment(), hosts=hosts)

    def read(image: ImageRef) -> bytes:
        return sources.read(image, hosts) if image.task is None else tasks().read(image)

    return read


def _work(
    run: Run, engine: Engine, read: Callable[[ImageRef], bytes], arguments: argparse.Namespace,
    say: Say,
) -> int:  # fmt: skip
    """Look at every pending image, draw, export."""
    from tqdm import tqdm

    from app import render
    from app.runs.jobs import process

    out: Path | None = arguments.out
    pictures = out / "pictures" if out is not None and not arguments.no_pictures else None
    names = picture_names([row.ref for row in run.images()])
    ids = {row.id: name for row, name in zip(run.images(), names, strict=True)}
    before = run.counts()
    code = OK
    boxes = 0
    try:
        with (
            tqdm(
                total=before.total, initial=before.looked_at, unit="img", file=sys.stderr,
                dynamic_ncols=True,
            ) as bar,
            closing(process(run, engine.predictor, read)) as outcomes,
        ):  # fmt: skip
            for outcome in outcomes:
                if outcome.state == "failed":
                    bar.write(f"failed: {outcome.reason}", file=sys.stderr)
                else:
                    found = run.detections(outcome.row)
                    boxes += len(found)
                    if pictures is not None and outcome.image is not None:
                        drawn = render.draw(outcome.image, found)
                        write_bytes(pictures / ids[outcome.row.id], render.encode(drawn, "JPEG"))
                bar.update()
                bar.set_postfix(boxes=boxes, refresh=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
        counts = run.counts()
        again = f"; go on with --resume {run.folder}" if _kept(arguments) else ""
        done = counts.done + counts.empty
        say(f"stopped after {done} of {counts.total} images; what is done is written{again}")
    return _write(run, read, arguments, pictures, ids, code, say)


def _write(
    run: Run, read: Callable[[ImageRef], bytes], arguments: argparse.Namespace,
    pictures: Path | None, ids: dict[int, str], code: int, say: Say,
) -> int:  # fmt: skip
    """Pictures that are missing, COCO, exports, and what was done in words."""
    from app import render
    from detclipv2.inference.images import open_image

    written = []
    if arguments.out is not None:
        extra: dict[int, dict[str, Any]] = {}
        if pictures is not None:
            for row in run.images("done", "empty"):
                path = pictures / ids[row.id]
                if not path.exists():  # killed between its boxes and its picture
                    drawn = render.draw(open_image(read(row.ref)), run.detections(row))
                    write_bytes(path, render.encode(drawn, "JPEG"))
                extra[row.id] = {"picture": f"pictures/{ids[row.id]}"}
        written.append(to_coco(run, arguments.out / "detections.json", extra=extra))
    for kind in arguments.formats:
        folder = (run.folder if _kept(arguments) else arguments.out) / "exports"
        written.append(export(run, kind, folder, read=read))
    counts = run.counts()
    if counts.failed:
        say(f"{counts.failed} of {counts.total} images failed (named above)")
        code = code or SOME_FAILED
    total = sum(run.class_counts().values())
    places = ", ".join(map(str, written)) or str(run.folder)
    print(f"{counts.done + counts.empty} images, {total} boxes → {places}")
    if _kept(arguments):
        states = f"{counts.done} with boxes, {counts.empty} empty, {counts.failed} failed"
        print(f"{states}; run folder {run.folder}")
    return code


def _kept(arguments: argparse.Namespace) -> bool:
    """Whether the run's folder stays; without --run or --resume it is temporary."""
    return arguments.run is not None or arguments.resume is not None


def picture_names(images: Sequence[ImageRef]) -> list[str]:
    """A file name for each drawn picture, unique also on file systems that ignore case."""
    taken: set[str] = set()
    names = []
    for image in images:
        stem, count = Path(image.file_name).stem, 1
        name = f"{stem}.jpg"
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names
