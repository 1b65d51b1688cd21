"""The SQLite file of a run: a row an image, a row a box."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from app.runs.records import RunError
from detclipv2 import database
from detclipv2.database import DatabaseError, Kind

_SCHEMA = """
CREATE TABLE images(
    id INTEGER PRIMARY KEY, file_name TEXT NOT NULL UNIQUE, place TEXT NOT NULL, member TEXT,
    task INTEGER, state TEXT NOT NULL DEFAULT 'pending', reason TEXT, sha256 TEXT,
    width INTEGER, height INTEGER, seconds REAL);
CREATE INDEX images_by_state ON images(state);
CREATE TABLE boxes(
    image INTEGER NOT NULL, rank INTEGER NOT NULL, class INTEGER NOT NULL, score REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    PRIMARY KEY(image, rank)) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
LEDGER = Kind("the run's ledger", 0x44435232, 1, _SCHEMA, ("images", "boxes", "meta"))


def create(path: Path) -> sqlite3.Connection:
    """Make an empty ledger, in the place of one whose creation was killed.

    Raises:
        RunError: another file is there.
    """
    for left in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if left == path and path.exists() and not database.is_of(path, LEDGER):
            raise RunError(f"{path} is not ours to replace; remove it, or name another folder")
        with suppress(FileNotFoundError):
            left.unlink()
    database.create(path, LEDGER)
    return connect(path)


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger of a run.

    Raises:
        RunError: it is gone, or another file is in its place.
    """
    try:
        return database.connect(path, LEDGER)
    except DatabaseError as error:
        raise RunError(
            f"{error}, or begin the run anew in another folder; its boxes are in that file alone"
        ) from error
