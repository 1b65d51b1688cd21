"""The arguments of `app.cli detect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.detection_options import add_adapted, add_detection
from app.formats.vocabulary_files import read_vocabulary
from app.labelstudio.push.task_file import FORMAT as LABEL_STUDIO
from app.runs import sources
from app.runs.export import FORMATS
from app.runs.video import EVERY
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import FLOOR

MODEL = "nano"
"""The model when none is named."""
FLOOR_FLAG = "--floor"

EXAMPLES = """\
prompts:
  classes are separated by commas or lines; a line may carry synonyms, its own threshold, or a
  distractor that competes but is never returned:
      cat
      cup: mug, tumbler @0.35
      !shadow
  lists pasted from other tools are read as well; docs/prompts.md has the rules

examples:
  detclipv2 detect photos/ --prompts "cat, a red mug" --out result
  detclipv2 detect a.jpg b.jpg --prompts-file classes.txt --threshold 0.2 --out result
  detclipv2 detect photos.zip --prompts "cat" --run runs/cats --format yolo --format csv
  detclipv2 detect clip.mp4 --every 0.5 --prompts "cat" --run runs/clip --out result
  detclipv2 detect --resume runs/cats
  detclipv2 detect --resume runs/cats --threshold 0.4 --out result
  detclipv2 detect --project 7 --only-unlabelled --prompts "cat" --run runs/project7

exit codes: 0 fine, 1 some images or files failed, 2 nothing could be done, 130 stopped with Ctrl-C
(what is done is written)
"""


class UsageError(ValueError):
    """The command cannot start; the message is one line and says what to do."""


def add_prompts(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The two ways to name classes."""
    words = parser.add_mutually_exclusive_group(required=required)
    words.add_argument("--prompts", metavar="TEXT", help='classes, e.g. "cat, a red mug"')
    words.add_argument(
        "--prompts-file",
        type=Path,
        metavar="FILE",
        help="file with the classes: text, data.yaml, COCO .json, Label Studio .xml, .csv ...",
    )


def vocabulary_of(arguments: argparse.Namespace) -> Vocabulary:
    """What was written, or what the file holds.

    Raises:
        VocabularyError: it cannot be used.
    """
    if arguments.prompts is not None:
        return Vocabulary.parse(arguments.prompts)
    return read_vocabulary(arguments.prompts_file)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `detect`."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images, folders (recursive), globs, .zip archives, videos, addresses or .txt lists "
        "of them",
    )
    parser.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        default=EVERY,
        help="of a video: seconds between the frames that are looked at (default: %(default)g)",
    )
    add_prompts(parser, required=False)
    where = parser.add_argument_group("where results go (at least one)")
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="result folder: detections.json and pictures/"
    )
    where.add_argument(
        "--run",
        type=Path,
        metavar="DIR",
        help="run folder that can be resumed, re-filtered, exported again and pushed",
    )
    where.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with a run folder, as it was begun; only --threshold may be another",
    )
    where.add_argument(
        "--format",
        action="append",
        choices=(*FORMATS, LABEL_STUDIO),
        default=[],
        dest="formats",
        help="also export to RUN/exports; may be given several times",
    )
    parser.add_argument(
        "--image-root",
        default="",
        metavar="PREFIX",
        help="with --format labelstudio: what stands before a file's name in a task, e.g. "
        "https://photos.example/ (default: its address in local-files storage)",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="with --resume: try failed images again"
    )
    add_detection(parser, lists=True)
    parser.add_argument(
        FLOOR_FLAG,
        type=float,
        metavar="T",
        help=f"lowest score a run folder stores for later thresholds (default: {FLOOR})",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"a shipped model's name or a checkpoint folder (default: {MODEL}; with --resume the "
        "run's)",
    )
    add_adapted(parser)
    parser.add_argument(
        "--index",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with --run: keep what `ask` needs, about 80 KB a photo (default: yes)",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="with --out: write only detections.json"
    )
    parser.add_argument(
        "--hosts",
        metavar="A,B",
        help=f"hosts that addresses may name (default: ${sources.HOSTS_VARIABLE})",
    )
    parser.add_argument(
        "--project", type=int, metavar="ID", help="look at the tasks of a Label Studio project"
    )
    parser.add_argument(
        "--only-unlabelled", action="store_true", help="with --project: tasks without annotations"
    )
