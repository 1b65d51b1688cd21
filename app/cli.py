"""`python -m app.cli detect PATH… --prompts "cat, a red mug" --out DIR`: folders, no browser.

Exit codes: 0 all images done · 1 some images failed · 2 wrong usage · 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from app import coco

if TYPE_CHECKING:
    from app.engine import Engine, Settings
    from detclipv2.language.vocabulary import Vocabulary

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})
"""What counts as an image when a folder is searched; a file named directly is always tried."""

OK, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EXAMPLES = """\
prompts:
  classes are separated by commas or lines; a line may carry synonyms, its own threshold, or a
  distractor that competes but is never returned:
      cat
      cup: mug, tumbler @0.35
      !shadow

examples:
  python -m app.cli detect photos/ --prompts "cat, a red mug" --out result
  python -m app.cli detect a.jpg b.jpg --prompts-file classes.txt --threshold 0.2 --out result

exit codes: 0 fine, 1 some images failed, 2 usage error, 130 stopped with Ctrl-C (what is done is
written)
"""


class UsageError(ValueError):
    """The command cannot start; the message is one line and says what to do."""


@dataclass(frozen=True)
class _Item:
    """One image to look at: where it lies, and what the dataset calls it."""

    path: Path
    file_name: str


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that point to --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    parser = _Parser(prog="python -m app.cli", description="DetCLIPv2 on the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    detect = commands.add_parser(
        "detect",
        help="find the classes you name in images and folders",
        description="Find the classes you name in images and folders; writes one COCO JSON and "
        "the drawn pictures.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    detect.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="image files and folders (recursive)"
    )
    words = detect.add_mutually_exclusive_group(required=True)
    words.add_argument("--prompts", metavar="TEXT", help='classes, e.g. "cat, a red mug"')
    words.add_argument(
        "--prompts-file", type=Path, metavar="FILE", help="UTF-8 text file with the classes"
    )
    detect.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="result folder: detections.json and pictures/",
    )  # fmt: skip
    detect.add_argument(
        "--threshold", type=float, default=0.3, metavar="T",
        help="lowest score that is kept, 0 to 1; a class's own @T goes first (default: 0.3)",
    )  # fmt: skip
    detect.add_argument(
        "--nms", type=float, default=0.6, metavar="IOU",
        help="of two boxes of one class that overlap more, the weaker goes (default: 0.6)",
    )  # fmt: skip
    detect.add_argument(
        "--max-boxes", type=int, default=100, metavar="N", help="boxes an image (default: 100)"
    )
    detect.add_argument(
        "--model", default="nano", metavar="NAME",
        help="a shipped model's name or a checkpoint folder (default: nano)",
    )  # fmt: skip
    detect.add_argument(
        "--size", type=int, metavar="PX",
        help="long side the model sees, a multiple of 32; larger finds smaller things and takes "
        "longer (default: the model's own)",
    )  # fmt: skip
    detect.add_argument(
        "--no-pictures", action="store_true", help="write only detections.json, draw nothing"
    )
    return parser


def find_images(paths: Iterable[Path], out: Path) -> list[_Item]:
    """The images behind `paths`, each once, in a stable order.

    Folders are searched recursively for `SUFFIXES`; hidden files and everything below `out` are
    passed over, so that a second run does not look at the pictures the first one drew. The dataset
    names an image by its path below the folder all images share.

    Raises:
        UsageError: a path does not exist, or there is no image at all.
    """
    found: dict[Path, None] = {}
    drawn = (out / "pictures").resolve()
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
                    resolved = file.resolve()
                    if not resolved.is_relative_to(drawn):
                        found[resolved] = None
        elif path.exists():
            found[path.resolve()] = None
        else:
            raise UsageError(f"no such file or folder: {path}; check the path")
    if not found:
        raise UsageError(
            f"no images in {', '.join(map(str, paths))}; looked for {' '.join(sorted(SUFFIXES))}"
        )
    files = list(found)
    try:
        root = Path(os.path.commonpath([file.parent for file in files]))
        return [_Item(file, file.relative_to(root).as_posix()) for file in files]
    except ValueError:  # Windows: files on several drives share no folder
        return [_Item(file, file.as_posix()) for file in files]


def picture_names(items: Sequence[_Item]) -> list[str]:
    """A file name for each drawn picture, unique also on file systems that ignore case."""
    taken: set[str] = set()
    names = []
    for item in items:
        stem, count = item.path.stem, 1
        name = f"{stem}.jpg"
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names


def detect(arguments: argparse.Namespace) -> int:
    """Run the `detect` command and return its exit code."""
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder")
    items = find_images(arguments.paths, out)
    # torch and the model load here, after the cheap mistakes have been reported
    vocabulary, settings, engine = _prepare(arguments)
    dataset = coco.CocoDataset(vocabulary.names, engine.describe(vocabulary, settings))
    code = OK
    failed: list[str] = []
    try:
        _detect_all(items, engine, vocabulary, settings, dataset, failed, arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
        _say(f"stopped after {len(dataset.images)} of {len(items)} images; what is done is written")
    coco.write_json(out / "detections.json", dataset.to_dict())
    if failed:
        _say(f"{len(failed)} of {len(items)} images failed (named above)")
        code = code or SOME_FAILED
    written = out / "detections.json"
    print(f"{len(dataset.images)} images, {len(dataset.annotations)} boxes → {written}")
    return code


def _prepare(arguments: argparse.Namespace) -> tuple[Vocabulary, Settings, Engine]:
    """Everything a run needs, from the words to the loaded model; UsageError when it cannot be."""
    from app.engine import Engine, EngineError, Settings
    from detclipv2.language.vocabulary import Vocabulary, VocabularyError

    text: str | None = arguments.prompts
    if text is None:
        try:
            text = arguments.prompts_file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--prompts-file {arguments.prompts_file}: {error}; name a UTF-8 text file"
            ) from error
    try:
        vocabulary = Vocabulary.parse(text)
        settings = Settings(arguments.threshold, arguments.nms, arguments.max_boxes)
        engine = Engine.load(arguments.model, size=arguments.size)
    except (VocabularyError, EngineError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    return vocabulary, settings, engine


def _detect_all(
    items: Sequence[_Item],
    engine: Engine,
    vocabulary: Vocabulary,
    settings: Settings,
    dataset: coco.CocoDataset,
    failed: list[str],
    arguments: argparse.Namespace,
) -> None:
    """Look at every image; a bad one is named on stderr and does not stop the rest."""
    from tqdm import tqdm

    from app import render
    from detclipv2.inference.images import ImageError, open_image

    pictures: Path = arguments.out / "pictures"
    names = picture_names(items)
    with tqdm(total=len(items), unit="img", file=sys.stderr, dynamic_ncols=True) as bar:
        for item, name in zip(items, names, strict=True):
            try:
                image = open_image(item.path)
            except ImageError as error:
                failed.append(item.file_name)
                bar.write(f"failed: {error}", file=sys.stderr)
            else:
                detections = engine.predict(image, vocabulary, settings)
                extra = {}
                if not arguments.no_pictures:
                    drawn = render.draw(image, detections)
                    coco.write_bytes(pictures / name, render.encode(drawn, "JPEG"))
                    extra["picture"] = f"pictures/{name}"
                # after the picture: an interrupt in between leaves no entry without its picture
                dataset.add(item.file_name, image.size, detections, **extra)
            bar.update()
            bar.set_postfix(boxes=len(dataset.annotations), failed=len(failed), refresh=False)


def _say(message: str) -> None:
    print(f"python -m app.cli: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv` (default: the process's own) and run; returns the exit code."""
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:  # --help and usage errors; a caller in Python gets a code, too
        return int(stop.code or 0)
    try:
        return detect(arguments)
    except UsageError as error:
        _say(f"error: {error}")
        return USAGE
    except KeyboardInterrupt:
        _say("stopped before the first image; nothing was written")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
