"""The decisions of a run: an SQLite table beside the ledger, only ever appended to.

Each step, one or several decisions of one photo, is one transaction, so that a kill loses none
that was reported. To undo is a later row. Of which photo a row is the ledger's id says.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from app.box import Box
from app.review.decision import Decision, DecisionError, PhotoReview, standing
from detclipv2 import database
from detclipv2.database import DatabaseError, Kind

FILE = "decisions.sqlite"
_BOXES = ("class", "score", "x1", "y1", "x2", "y2")
_COLUMNS = ", ".join([*_BOXES, *(f"new_{name}" for name in _BOXES)])
_SCHEMA = """
CREATE TABLE decisions(
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, image INTEGER NOT NULL, kind TEXT NOT NULL,
    by TEXT NOT NULL, at TEXT NOT NULL, classes TEXT, undoes INTEGER,
    class TEXT, score REAL, x1 REAL, y1 REAL, x2 REAL, y2 REAL,
    new_class TEXT, new_score REAL, new_x1 REAL, new_y1 REAL, new_x2 REAL, new_y2 REAL);
CREATE INDEX decisions_by_image ON decisions(image);
"""
DECISIONS = Kind("the run's decisions", 0x44435244, 1, _SCHEMA, ("decisions",))
_REVIEWED, _UNDONE = "reviewed", "undone"
MOST = 10_000
"""Decisions in one step."""


class Decisions:
    """The open table of a run. Thread-safe; several processes may have it open.

    Args:
        folder: of the run; the table is made with the first decision.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = Lock()
        self._db: sqlite3.Connection | None = None

    def decide(
        self,
        image: int,
        decisions: Sequence[Decision],
        *,
        by: str = "",
        reviewed: Collection[str] = (),
    ) -> int | None:
        """Append a step; returns its number, or None where there was nothing to append.

        Args:
            image: the photo's id in the ledger.
            decisions: about its boxes.
            by: who decided.
            reviewed: classes for which the whole photo is reviewed now; what nobody confirmed of
                these is not there.

        Raises:
            DecisionError: too many at once, or the table is not ours.
        """
        if len(decisions) > MOST:
            raise DecisionError(f"{len(decisions):,} decisions at once; at most {MOST:,} are taken")
        rows: list[tuple[object, ...]] = [
            (one.kind, None, None, *_cells(one.before), *_cells(one.after)) for one in decisions
        ]
        if reviewed:
            classes = json.dumps(sorted(reviewed), ensure_ascii=False)
            rows.append((_REVIEWED, classes, None, *_cells(None), *_cells(None)))
        return self._append(image, rows, by) if rows else None

    def undo(self, image: int | None = None, *, by: str = "") -> int | None:
        """Undo the latest step that stands, of this photo or of any.

        Returns:
            The id of the photo whose step was undone; None where no step is left.
        """
        if not self._path.exists():
            return None
        with self._open() as db:
            where, values = ("", ()) if image is None else ("WHERE image = ?", (image,))
            rows = db.execute(
                f"SELECT step, image, undoes FROM decisions {where} ORDER BY id DESC", values
            )
            undone: set[int] = set()
            latest: tuple[int, int] | None = None
            for step, of_image, undoes in rows:
                if undoes is not None:
                    undone.add(undoes)
                elif step not in undone:
                    latest = step, of_image
                    break
        if latest is None:
            return None
        step, of_image = latest
        self._append(of_image, [(_UNDONE, None, step, *_cells(None), *_cells(None))], by)
        return of_image

    def review(self, image: int) -> PhotoReview:
        """How far a photo is."""
        return self.reviews(image).get(image, PhotoReview(image))

    def reviews(self, image: int | None = None) -> dict[int, PhotoReview]:
        """Every photo that was decided about, by its id; or only this one.

        Raises:
            DecisionError: the table is not ours, or damaged.
        """
        if not self._path.exists():
            return {}
        where, values = ("", ()) if image is None else ("WHERE image = ?", (image,))
        with self._open() as db:
            rows = db.execute(
                f"SELECT image, step, kind, classes, undoes, {_COLUMNS} FROM decisions {where}"
                " ORDER BY id",
                values,
            ).fetchall()
        undone = {row[4] for row in rows if row[4] is not None}
        decided: dict[int, list[Decision]] = {}
        classes: dict[int, frozenset[str]] = {}
        try:
            for photo, step, kind, names, undoes, *cells in rows:
                if step in undone or undoes is not None:
                    continue
                mine = decided.setdefault(photo, [])
                if kind == _REVIEWED:
                    classes[photo] = classes.get(photo, frozenset()) | {*json.loads(names)}
                else:
                    mine.append(Decision(kind, _box(cells[:6]), _box(cells[6:])))
        except (TypeError, ValueError) as error:
            raise DecisionError(f"{self._path} is damaged: {error}; put a copy back") from error
        return {
            photo: PhotoReview(photo, *standing(mine), classes.get(photo, frozenset()))
            for photo, mine in decided.items()
        }

    def close(self) -> None:
        """Close the table."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def __enter__(self) -> Decisions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, image: int, rows: Sequence[tuple[object, ...]], by: str) -> int:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        places = ",".join("?" * (len(rows[0]) + 4))
        with self._open() as db, db:
            db.execute("BEGIN IMMEDIATE")
            (last,) = db.execute("SELECT coalesce(max(step), 0) FROM decisions").fetchone()
            step = int(last) + 1
            db.executemany(
                "INSERT INTO decisions(step, image, by, at, kind, classes, undoes,"
                f" {_COLUMNS}) VALUES ({places})",
                ((step, image, by, at, *row) for row in rows),
            )
        return step

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._db is None:
                    self._db = _connect(self._path)
                yield self._db
            except DatabaseError as error:
                raise DecisionError(str(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        with suppress(FileExistsError):  # another process was faster
            database.create(path, DECISIONS)
    db = database.connect(path, DECISIONS)
    # A person's work: it is on the disk when the call returns.
    db.execute("PRAGMA synchronous=FULL")
    return db


def _cells(box: Box | None) -> tuple[object, ...]:
    return (None,) * len(_BOXES) if box is None else (box.name, box.score, *box.xyxy)


def _box(cells: Sequence[object]) -> Box | None:
    if cells[0] is None:
        return None
    name, score, x1, y1, x2, y2 = cells
    match name, score, x1, y1, x2, y2:
        case str(), float(), float(), float(), float(), float():
            return Box(name, score, (x1, y1, x2, y2))
    raise TypeError("a box that is none")
