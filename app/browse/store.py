"""A browse run: a folder with `alignments.sqlite`, a row a captioned photo and a row a phrase.

Every photo is written in one transaction, so a run stopped at any moment goes on where it was.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.browse.records import ORDERS, About, AlignedPhoto, AlignedPhrase, Counts, Filter, Order
from detclipv2.database import Kind, connect, create
from detclipv2.datasets.captions import Captioned
from detclipv2.language.sentence import prompt_text

if TYPE_CHECKING:
    from detclipv2.inference.alignment import Alignment

FILE = "alignments.sqlite"
_SCHEMA = """
CREATE TABLE photos(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, first INTEGER, bytes INTEGER,
    caption TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'pending', reason TEXT,
    width INTEGER, height INTEGER, similarity REAL, evidence REAL, weakest REAL);
CREATE INDEX photos_by_evidence ON photos(state, evidence);
CREATE TABLE phrases(
    photo INTEGER NOT NULL, rank INTEGER NOT NULL, text TEXT NOT NULL, key TEXT NOT NULL,
    first INTEGER, last INTEGER, evidence REAL NOT NULL, match REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    PRIMARY KEY(photo, rank)) WITHOUT ROWID;
CREATE INDEX phrases_by_key ON phrases(key);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_KIND = Kind("a browse run", 0x44435242, 1, _SCHEMA, ("photos", "phrases", "meta"))


class BrowseRun:
    """The run in `folder`; safe to use from several threads.

    Its methods raise `DatabaseError` where the folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path) -> BrowseRun:
        """The run in `folder`, an empty one where there is none.

        Raises:
            DatabaseError: another file is in its place.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.path.lexists(folder / FILE):
            with suppress(FileExistsError):
                create(folder / FILE, _KIND)
        connect(folder / FILE, _KIND).close()
        return cls(folder)

    def begin(self, photos: Iterable[Captioned], about: About) -> None:
        """Enter a data set's photos, unless they are there already."""
        with self._open() as db:
            if db.execute("SELECT 1 FROM photos LIMIT 1").fetchone():
                return
            db.executemany(
                "INSERT INTO photos(name, file, first, bytes, caption) VALUES (?, ?, ?, ?, ?)",
                ((p.name, str(p.file), *(p.part or (None, None)), p.caption) for p in photos),
            )
            self._write_about(db, about)

    def finish_entry(self, about: About) -> None:
        """Keep what was left out, which is known once the data set has been read."""
        with self._open() as db:
            self._write_about(db, about)

    @property
    def about(self) -> About | None:
        """What the run is of; None before `begin`."""
        with self._open() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'about'").fetchone()
        return None if row is None else About(**json.loads(row[0]))

    def pending(self) -> Iterator[tuple[int, Captioned]]:
        """Photos that were not looked at yet, in order; read in chunks."""
        last = 0
        while True:
            with self._open() as db:
                rows = db.execute(
                    "SELECT id, name, file, first, bytes, caption FROM photos "
                    "WHERE state = 'pending' AND id > ? ORDER BY id LIMIT 256",
                    (last,),
                ).fetchall()
            if not rows:
                return
            for row in rows:
                last = row["id"]
                yield last, _photo(row)

    def write(self, photo: int, found: Alignment) -> None:
        """Keep a photo's alignment."""
        evidence, matches = found.evidence.tolist(), found.matches.tolist()
        boxes = found.boxes[found.best].tolist()
        with self._open() as db:
            db.executemany(
                "INSERT OR REPLACE INTO phrases VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (
                        photo,
                        i,
                        text,
                        prompt_text("{}", text),
                        *(span or (None, None)),
                        evidence[i],
                        matches[i],
                        *boxes[i],
                    )
                    for i, (text, span) in enumerate(zip(found.phrases, found.spans, strict=True))
                ],
            )
            db.execute(
                "UPDATE photos SET state = 'done', width = ?, height = ?, similarity = ?, "
                "evidence = ?, weakest = ? WHERE id = ?",
                (
                    *found.size,
                    found.similarity,
                    sum(evidence) / len(evidence),
                    min(evidence),
                    photo,
                ),
            )

    def write_state(self, photo: int, state: Literal["empty", "failed"], reason: str) -> None:
        """Keep why a photo has no alignment."""
        with self._open() as db:
            db.execute(
                "UPDATE photos SET state = ?, reason = ? WHERE id = ?", (state, reason, photo)
            )

    def counts(self) -> Counts:
        """How far the run is."""
        with self._open() as db:
            rows = dict(db.execute("SELECT state, count(*) FROM photos GROUP BY state").fetchall())
        return Counts(*(rows.get(state, 0) for state in ("pending", "done", "empty", "failed")))

    def find(
        self, chosen: Filter, order: Order = "worst", *, offset: int = 0, limit: int = 24
    ) -> tuple[list[AlignedPhoto], int]:
        """A page of the photos that pass the filter, and how many pass."""
        where, values = _where(chosen)
        with self._open() as db:
            total = db.execute(f"SELECT count(*) FROM photos WHERE {where}", values).fetchone()[0]
            rows = db.execute(
                f"SELECT * FROM photos WHERE {where} ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
            return [_aligned(db, row) for row in rows], int(total)

    def get(self, photo: int) -> AlignedPhoto:
        """One photo by its number; KeyError where there is none."""
        with self._open() as db:
            row = db.execute("SELECT * FROM photos WHERE id = ?", (photo,)).fetchone()
            if row is None:
                raise KeyError(photo)
            return _aligned(db, row)

    def vocabulary(self, least: float, limit: int = 1000) -> list[tuple[str, int, float, float]]:
        """The noun phrases, the most frequent first.

        Each with its text, photos, share without a region and mean evidence.
        """
        with self._open() as db:
            rows = db.execute(
                "SELECT key, count(DISTINCT photo) AS photos, avg(evidence < ?), avg(evidence) "
                "FROM phrases GROUP BY key ORDER BY photos DESC, key LIMIT ?",
                (least, limit),
            ).fetchall()
        return [(str(r[0]), int(r[1]), float(r[2]), float(r[3])) for r in rows]

    def _write_about(self, db: sqlite3.Connection, about: About) -> None:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('about', ?)", (json.dumps(asdict(about)),))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self.folder / FILE, _KIND)) as db:
            db.row_factory = sqlite3.Row
            with db:
                yield db


def _where(chosen: Filter) -> tuple[str, list[Any]]:
    clauses: list[str] = ["state = 'done'"]
    values: list[Any] = []
    inner: list[str] = []
    if words := prompt_text("{}", chosen.phrase):
        escaped = words.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        inner.append("key LIKE ? ESCAPE '!'")
        values.append(f"%{escaped}%")
    if chosen.missing:
        inner.append("evidence < ?")
        values.append(chosen.least)
    if inner:
        clauses.append(f"id IN (SELECT photo FROM phrases WHERE {' AND '.join(inner)})")
    if chosen.most is not None:
        clauses.append("evidence <= ?")
        values.append(chosen.most)
    return " AND ".join(clauses), values


def _photo(row: sqlite3.Row) -> Captioned:
    part = None if row["first"] is None else (row["first"], row["bytes"])
    return Captioned(row["name"], Path(row["file"]), row["caption"], part)


def _aligned(db: sqlite3.Connection, row: sqlite3.Row) -> AlignedPhoto:
    phrases = db.execute("SELECT * FROM phrases WHERE photo = ? ORDER BY rank", (row["id"],))
    return AlignedPhoto(
        row["id"],
        _photo(row),
        (row["width"] or 0, row["height"] or 0),
        row["similarity"] or 0.0,
        row["evidence"] or 0.0,
        tuple(
            AlignedPhrase(
                p["text"],
                None if p["first"] is None else (p["first"], p["last"]),
                p["evidence"],
                p["match"],
                (p["x1"], p["y1"], p["x2"], p["y2"]),
            )
            for p in phrases
        ),
    )
