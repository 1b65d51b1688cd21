"""`app.cli detect`: a run over files, archives, addresses or a Label Studio project."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.coco import write_bytes
from app.runs import sources
from app.runs.export import FORMATS, export, to_coco
from app.runs.records import ImageRef, RunError
from app.runs.settings import FLOOR, settings_of
from app.runs.store import Run

if TYPE_CHECKING:
    from app.engine import Engine

Say = Callable[[str], None]

OK, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

EXAMPLES = """\
prompts:
  classes are separated by commas or lines; a line may carry synonyms, its own threshold, or a
  distractor that competes but is never returned:
      cat
      cup: mug, tumbler @0.35
      !shadow

examples:
  python -m app.cli detect photos/ --prompts "cat, a red mug" --out result
  python -m app.cli detect a.jpg b.jpg --prompts-file classes.txt --threshold 0.2 --out result
  python -m app.cli detect photos.zip --prompts "cat" --run runs/cats --format yolo --format csv
  python -m app.cli detect --resume runs/cats
  python -m app.cli detect --project 7 --only-unlabelled --prompts "cat" --run runs/project7

exit codes: 0 fine, 1 some images failed, 2 usage error, 130 stopped with Ctrl-C (what is done is
written)
"""


class UsageError(ValueError):
    """The command cannot start; the message is one line and says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `detect`."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH",
        help="images, folders (recursive), globs, .zip archives, addresses or .txt lists of them",
    )  # fmt: skip
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--prompts", metavar="TEXT", help='classes, e.g. "cat, a red mug"')
    words.add_argument(
        "--prompts-file", type=Path, metavar="FILE", help="UTF-8 text file with the classes"
    )
    where = parser.add_argument_group("where results go (at least one)")
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="result folder: detections.json and pictures/"
    )
    where.add_argument(
        "--run", type=Path, metavar="DIR",
        help="run folder that can be resumed, re-filtered, exported again and pushed",
    )  # fmt: skip
    where.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with a run folder, as it was begun"
    )
    where.add_argument(
        "--format", action="append", choices=FORMATS, default=[], dest="formats",
        help="also export to RUN/exports; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--retry-failed", action="store_true", help="with --resume: try failed images again"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.3, metavar="T",
        help="lowest score that is kept, 0 to 1; a class's own @T goes first (default: 0.3)",
    )  # fmt: skip
    parser.add_argument(
        "--floor", type=float, default=FLOOR, metavar="T",
        help=f"lowest score a run folder stores for later thresholds (default: {FLOOR})",
    )  # fmt: skip
    parser.add_argument(
        "--nms", type=float, default=0.6, metavar="IOU",
        help="of two boxes of one class that overlap more, the weaker goes (default: 0.6)",
    )  # fmt: skip
    parser.add_argument(
        "--max-boxes", type=int, default=100, metavar="N", help="boxes an image (default: 100)"
    )
    parser.add_argument(
        "--model", default="nano", metavar="NAME",
        help="a shipped model's name or a checkpoint folder (default: nano)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int, metavar="PX",
        help="long side the model sees, a multiple of 32; larger finds smaller things and takes "
        "longer (default: the model's own)",
    )  # fmt: skip
    parser.add_argument(
        "--no-pictures", action="store_true", help="with --out: write only detections.json"
    )
    parser.add_argument(
        "--hosts", metavar="A,B",
        help=f"hosts that addresses may name (default: ${sources.HOSTS_VARIABLE})",
    )  # fmt: skip
    parser.add_argument(
        "--project", type=int, metavar="ID", help="look at the tasks of a Label Studio project"
    )
    parser.add_argument(
        "--only-unlabelled", action="store_true", help="with --project: tasks without annotations"
    )


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
            run, engine, read = _begin(arguments, stack)
            stack.callback(run.close)
            return _work(run, engine, read, arguments, say)
    except (RunError, sources.SourceError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def _begin(
    arguments: argparse.Namespace, stack: ExitStack
) -> tuple[Run, Engine, Callable[[ImageRef], bytes]]:
    """The run, the loaded model and how images are read; cheap mistakes are reported first."""
    from app.engine import Engine, EngineError, Settings
    from detclipv2.language.vocabulary import Vocabulary, VocabularyError

    if arguments.resume is not None:
        if arguments.paths or arguments.run or arguments.prompts or arguments.prompts_file:
            raise UsageError(
                "--resume goes on as the run was begun; leave out paths, prompts and --run"
            )
        run = Run(arguments.resume)
        if arguments.retry_failed:
            run.retry_failed()
        arguments.run = arguments.resume
        return (
            run,
            _load(_model_of(arguments, run), run.settings.size),
            _reader(arguments, run.folder),
        )
    if arguments.out is None and arguments.run is None:
        raise UsageError("one of the arguments --out --run --resume is required")
    if arguments.prompts is None and arguments.prompts_file is None:
        raise UsageError("one of the arguments --prompts --prompts-file is required")
    if bool(arguments.paths) == (arguments.project is not None):
        raise UsageError("name images to look at, or a Label Studio project with --project")
    if arguments.run is not None and (arguments.run / "run.json").exists():
        raise UsageError(
            f"{arguments.run} holds a run already; go on with --resume {arguments.run}"
        )
    read = _reader(arguments, arguments.run)
    images = _images(arguments)
    text = arguments.prompts
    if text is None:
        try:
            text = arguments.prompts_file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--prompts-file {arguments.prompts_file}: {error}; name a UTF-8 text file"
            ) from error
    try:
        vocabulary = Vocabulary.parse(text)
        Settings(arguments.threshold, arguments.nms, arguments.max_boxes)
        engine = Engine.load(arguments.model, size=arguments.size)
    except (VocabularyError, EngineError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    settings = settings_of(
        engine, vocabulary.serialise(), threshold=arguments.threshold, nms_iou=arguments.nms,
        max_boxes=arguments.max_boxes, size=arguments.size, floor=arguments.floor,
        source=" ".join(arguments.paths) or f"Label Studio project {arguments.project}",
    )  # fmt: skip
    folder = arguments.run
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
    return Run.create(folder, settings, images), engine, read


def _model_of(arguments: argparse.Namespace, run: Run) -> str:
    # the parser's default stands for "as the run was begun"
    return run.settings.model if arguments.model == "nano" else str(arguments.model)


def _load(model: str, size: int | None) -> Engine:
    from app.engine import Engine, EngineError

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


def _reader(arguments: argparse.Namespace, run: Path | None) -> Callable[[ImageRef], bytes]:
    hosts = sources.Hosts.of(arguments.hosts)
    tasks: list[Any] = []

    def read(image: ImageRef) -> bytes:
        if image.task is None:
            return sources.read(image, hosts)
        if not tasks:
            from app.labelstudio.connection import Connection
            from app.labelstudio.images import TaskImages

            tasks.append(TaskImages(Connection.from_environment(), hosts=hosts))
        content: bytes = tasks[0].read(image)
        return content

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
        again = f"; go on with --resume {arguments.run}" if arguments.run else ""
        done = counts.done + counts.empty
        say(f"stopped after {done} of {counts.total} images; what is done is written{again}")
    return _write(run, read, arguments, pictures, ids, code, say)


def _write(
    run: Run, read: Callable[[ImageRef], bytes], arguments: argparse.Namespace,
    pictures: Path | None, ids: dict[int, str], code: int, say: Say,
) -> int:  # fmt: skip
    written = []
    if arguments.out is not None:
        extra: dict[int, dict[str, Any]] = {}
        if pictures is not None:
            for row in run.images("done", "empty"):
                if not (
                    pictures / ids[row.id]
                ).exists():  # killed between its boxes and its picture
                    _draw(run, row.id, read, pictures / ids[row.id])
                extra[row.id] = {"picture": f"pictures/{ids[row.id]}"}
        written.append(to_coco(run, arguments.out / "detections.json", extra=extra))
    for kind in arguments.formats:
        folder = (arguments.run or arguments.out) / "exports"
        written.append(export(run, kind, folder, read=read))
    counts = run.counts()
    if counts.failed:
        say(f"{counts.failed} of {counts.total} images failed (named above)")
        code = code or SOME_FAILED
    total = sum(run.class_counts().values())
    places = ", ".join(map(str, written)) or str(run.folder)
    print(f"{counts.done + counts.empty} images, {total} boxes → {places}")
    if arguments.run:
        states = f"{counts.done} with boxes, {counts.empty} empty, {counts.failed} failed"
        print(f"{states}; run folder {run.folder}")
    return code


def _draw(run: Run, image: int, read: Callable[[ImageRef], bytes], path: Path) -> None:
    from app import render
    from detclipv2.inference.images import open_image

    row = next(row for row in run.images("done", "empty") if row.id == image)
    drawn = render.draw(open_image(read(row.ref)), run.detections(row))
    write_bytes(path, render.encode(drawn, "JPEG"))


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
