"""`app.cli decide`: what is right and wrong among a run's boxes, kept beside its ledger."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from app.box import Box, Corners
from app.commands.detect_arguments import UsageError
from app.commands.server_options import add_server, connect, root_of
from app.review.decision import Decision, DecisionError, decisions_from
from app.review.decisions import Decisions
from app.runs.files import readable
from app.runs.records import ImageRow
from app.runs.store import Run


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    decide = commands.add_parser(
        "decide",
        help="say which boxes of a run are right, for `learn`",
        description="Without options: the photo's boxes with their numbers, and its decisions. "
        "Decisions lie in the run's folder; the last one of a box counts.",
    )
    decide.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    decide.add_argument("photo", nargs="?", metavar="PHOTO", help="as the run names it")
    decide.add_argument("--accept", metavar="N,N", help="boxes that are right, by number; or all")
    decide.add_argument(
        "--accept-above", type=float, metavar="T", help="boxes that score T or more"
    )
    decide.add_argument("--reject", metavar="N,N", help="boxes that are wrong, by number; or all")
    decide.add_argument(
        "--rename", action="append", default=[], metavar="N=CLASS", help="give box N another class"
    )
    decide.add_argument(
        "--move", action="append", default=[], metavar="N=X1,Y1,X2,Y2", help="in pixels"
    )
    decide.add_argument(
        "--add", action="append", default=[], metavar="CLASS=X1,Y1,X2,Y2", help="a missing box"
    )
    decide.add_argument(
        "--reviewed",
        nargs="?",
        const="",
        metavar="CLASS,CLASS",
        help="the photo is done, for all classes or these: nothing else is there",
    )
    decide.add_argument("--undo", action="store_true", help="take the last step back")
    decide.add_argument("--by", default=None, metavar="NAME", help="who decides; default: you")
    decide.add_argument(
        "--coco", type=Path, metavar="FILE", help="photos and all their boxes, reviewed elsewhere"
    )
    add_server(decide)
    decide.set_defaults(act=run_decide)


def run_decide(arguments: argparse.Namespace) -> int:
    """Take decisions, or show them.

    Raises:
        UsageError: a photo, box or class that the run does not have.
    """
    by = getpass.getuser() if arguments.by is None else arguments.by
    with closing(Run(arguments.run)) as run, Decisions(run.folder) as decisions:
        if arguments.coco is not None:
            return _import_coco(run, decisions, arguments.coco, by)
        if arguments.project is not None:
            return _import_project(run, decisions, arguments, by)
        if arguments.photo is None:
            return _undo_any(run, decisions, by) if arguments.undo else _summary(run, decisions)
        row = run.image(arguments.photo)
        if row is None:
            raise UsageError(f"the run has no photo {readable(arguments.photo)}")
        if arguments.undo:
            done = decisions.undo(row.id, by=by)
            print("nothing to undo" if done is None else "undone")
            return 0
        names = run.view.vocabulary.names
        try:
            found = _decisions(run.boxes(row), arguments, names)
            reviewed = _classes(arguments.reviewed, names)
        except DecisionError as error:
            raise UsageError(str(error)) from error
        decisions.decide(row.id, found, by=by, reviewed=reviewed)
        _show(run, decisions, row)
    return 0


def _decisions(
    boxes: Sequence[Box], arguments: argparse.Namespace, names: Sequence[str]
) -> list[Decision]:
    """What the options say; a later option wins over an earlier one, precise ones over lists."""
    found: dict[int, Decision] = {}
    if arguments.accept_above is not None:
        for number, box in enumerate(boxes):
            if box.score >= arguments.accept_above:
                found[number] = Decision.accept(box)
    for number in _numbers(arguments.accept, boxes):
        found[number] = Decision.accept(boxes[number])
    for number in _numbers(arguments.reject, boxes):
        found[number] = Decision.reject(boxes[number])
    for text in arguments.rename:
        number, name = _pair(text, boxes)
        found[number] = Decision.rename(boxes[number], _known(name, names))
    for text in arguments.move:
        number, corners = _pair(text, boxes)
        found[number] = Decision.move(boxes[number], _corners(corners))
    added = []
    for text in arguments.add:
        name, _, corners = text.rpartition("=")
        added.append(Decision.add(_known(name, names), _corners(corners)))
    return [*found.values(), *added]


def _numbers(text: str | None, boxes: Sequence[Box]) -> list[int]:
    if text is None:
        return []
    if text == "all":
        return list(range(len(boxes)))
    return [_number(part, boxes) for part in text.split(",") if part.strip()]


def _number(text: str, boxes: Sequence[Box]) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= len(boxes)):
        raise DecisionError(f"the photo has boxes 1 to {len(boxes)}, not {text!r:.40}")
    return int(text) - 1


def _pair(text: str, boxes: Sequence[Box]) -> tuple[int, str]:
    number, _, rest = text.partition("=")
    return _number(number, boxes), rest.strip()


def _known(name: str, names: Sequence[str]) -> str:
    if name.strip() not in names:
        raise DecisionError(f"the run has no class {name!r:.80}, only {', '.join(names):.400}")
    return name.strip()


def _corners(text: str) -> Corners:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DecisionError(f"a box is X1,Y1,X2,Y2 in pixels, got {text!r:.60}") from error
    return x1, y1, x2, y2


def _classes(text: str | None, names: Sequence[str]) -> list[str]:
    if text is None:
        return []
    return [_known(name, names) for name in text.split(",")] if text else list(names)


def _show(run: Run, decisions: Decisions, row: ImageRow) -> None:
    review = decisions.review(row.id)
    print(f"{readable(row.file_name)}: {review.state}")
    for number, box in enumerate(run.boxes(row), 1):
        print(f"{number:>4}  {box.score:.2f}  {readable(box.name)}  {_place(box.xyxy)}")
    for box in review.boxes:
        print(f"   +  {readable(box.name)}  {_place(box.xyxy)}")
    for box in review.rejected:
        print(f"   -  {readable(box.name)}  {_place(box.xyxy)}")


def _place(xyxy: Corners) -> str:
    return ", ".join(f"{x:.0f}" for x in xyxy)


def _summary(run: Run, decisions: Decisions) -> int:
    states = [one.state for one in decisions.reviews().values()]
    reviewed, begun = states.count("reviewed"), states.count("in work")
    print(f"{reviewed:,} photos reviewed, {begun:,} in work, of {run.counts().total:,}")
    return 0


def _undo_any(run: Run, decisions: Decisions, by: str) -> int:
    image = decisions.undo(by=by)
    names = {row.id: row.file_name for row in run.images()}
    print("nothing to undo" if image is None else f"undone in {readable(names.get(image, '?'))}")
    return 0


def _import_coco(run: Run, decisions: Decisions, path: Path, by: str) -> int:
    from app.commands.detect import OK, SOME_FAILED
    from app.formats.coco_boxes import read_coco_boxes

    reviewed = read_coco_boxes(path)
    names = set(run.view.vocabulary.names)
    classes = [name for name in reviewed.names if name in names]
    if not classes:
        raise UsageError(f"{path} has none of the run's classes: {', '.join(sorted(names)):.400}")
    count = 0
    for file_name, boxes in reviewed.boxes.items():
        row = run.image(file_name)
        if row is None:
            continue
        shown = [box for box in run.boxes(row) if box.name in classes]
        found = decisions_from(shown, [box for box in boxes if box.name in classes])
        decisions.decide(row.id, found, by=by, reviewed=classes)
        count += 1
    left = len(reviewed.boxes) - count
    print(f"{count:,} photos reviewed" + (f"; {left:,} are not in the run" if left else ""))
    return SOME_FAILED if left else OK


def _import_project(run: Run, decisions: Decisions, arguments: argparse.Namespace, by: str) -> int:
    from app.commands.project_reviews import import_project

    with closing(connect(arguments)) as connection:
        project, root = arguments.project, root_of(arguments)
        count, left = import_project(run, decisions, connection, project, root, by)
    print(f"{count:,} photos reviewed; {left:,} tasks are of no photo of the run, or of several")
    return 0
