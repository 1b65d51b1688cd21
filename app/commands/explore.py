"""`app.cli like`, `duplicates` and `discover`: what an indexed run holds, without its photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.detect_arguments import UsageError
from app.commands.detect_begin import model_of
from app.runs.files import readable
from app.runs.store import Run

if TYPE_CHECKING:
    from app.box import Corners
    from app.index.store import RegionIndex

_CORNERS = ("X1", "Y1", "X2", "Y2")


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's sub-parsers."""
    like = commands.add_parser(
        "like",
        help="find what looks like a box, over a whole run",
        description="The photos of an indexed run with the region that is most like a box.",
    )
    like.add_argument("run", type=Path, help="the run's folder")
    shown = {"nargs": 5, "metavar": ("PHOTO", *_CORNERS), "action": "append"}
    like.add_argument("--box", required=True, help="a photo and a box in its pixels", **shown)
    like.add_argument("--unlike", default=[], help="likewise, what it shall not be like", **shown)
    like.add_argument("--most", type=int, default=20, metavar="N", help="photos (default: 20)")
    like.set_defaults(act=run_like)
    duplicates = commands.add_parser(
        "duplicates",
        help="find near-duplicates in a run before anybody labels them twice",
        description="Groups of photos that show the same; the first of each is the one to keep.",
    )
    duplicates.add_argument("run", type=Path, help="the run's folder")
    duplicates.set_defaults(act=run_duplicates)
    found = commands.add_parser(
        "discover",
        help="find which of the dictionary's concepts a run holds",
        description="Names of the concept dictionary, the most frequent in the run first. The "
        "first call reads 14,000 names, which takes minutes; they are kept.",
    )
    found.add_argument("run", type=Path, help="the run's folder")
    found.add_argument("--most", type=int, default=30, metavar="N", help="names (default: 30)")
    found.add_argument("--model", metavar="NAME", help="where the run's model is now")
    found.set_defaults(act=run_discover)


def run_like(arguments: argparse.Namespace) -> int:
    """Print a photo a line: similarity, file name, box."""
    from app.index.alike import alike, example

    run, index = _opened(arguments.run)
    positive, negative = (
        [example(index, *_box(run, words)) for words in group]
        for group in (arguments.box, arguments.unlike)
    )
    names = {row.id: row.file_name for row in run.images()}
    for one in alike(index, positive, negative, arguments.most):
        corners = " ".join(f"{value:.0f}" for value in one.xyxy)
        print(f"{one.similarity:.2f}  {readable(names[one.image])}  {corners}")
    return 0


def run_duplicates(arguments: argparse.Namespace) -> int:
    """Print a group a line, and how many photos need no labels of their own."""
    from app.index.duplicates import find_duplicates

    run, index = _opened(arguments.run)
    names = {row.id: row.file_name for row in run.images()}
    groups = find_duplicates(index)
    for group in groups:
        mark = "mirrored: " if group.mirrored else ""
        print(mark + ", ".join(readable(names[image]) for image in group.images))
    spare = sum(len(group.spare) for group in groups)
    print(f"{len(groups):,} groups; {spare:,} of {len(index):,} photos show what another one shows")
    return 0


def run_discover(arguments: argparse.Namespace) -> int:
    """Print a concept a line: its share of the photos, its name, the photo that shows it best."""
    from app.engine import Engine
    from app.index.discovery import discover
    from detclipv2.language.concepts import load_concepts

    run, index = _opened(arguments.run)
    engine = Engine.load(arguments.model or model_of(run), photos=1)
    names = {row.id: row.file_name for row in run.images()}
    concepts = load_concepts().names
    for one in discover(index, engine.predictor, concepts, most=arguments.most):
        image = one.examples[0][0]
        print(f"{100 * one.share:5.1f} %  {one.name}  (e.g. {readable(names[image])})")
    return 0


def _opened(folder: Path) -> tuple[Run, RegionIndex]:
    from app.index.build import index_of

    run = Run(folder)
    return run, index_of(run)


def _box(run: Run, words: list[str]) -> tuple[int, Corners]:
    """A photo's id and a box.

    Raises:
        UsageError: no such photo, or corners that are no box.
    """
    name, *numbers = words
    row = run.image(name)
    if row is None:
        raise UsageError(f"the run has no photo {name!r}; it is called as in the run's list")
    try:
        x1, y1, x2, y2 = (float(number) for number in numbers)
    except ValueError as error:
        raise UsageError(f"{' '.join(numbers)} are no four numbers") from error
    if not (x1 < x2 and y1 < y2):
        raise UsageError(f"{' '.join(numbers)} is no box: give left, top, right, bottom")
    return row.id, (x1, y1, x2, y2)
