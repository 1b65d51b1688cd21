"""The SQLite file of a run: a row an image, a row a box."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images(
    id INTEGER PRIMARY KEY, file_name TEXT NOT NULL UNIQUE, place TEXT NOT NULL, member TEXT,
    task INTEGER, state TEXT NOT NULL DEFAULT 'pending', reason TEXT, sha256 TEXT,
    width INTEGER, height INTEGER, seconds REAL);
CREATE INDEX IF NOT EXISTS images_by_state ON images(state);
CREATE TABLE IF NOT EXISTS boxes(
    image INTEGER NOT NULL, rank INTEGER NOT NULL, class INTEGER NOT NULL, score REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    PRIMARY KEY(image, rank)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger, or make an empty one."""
    db = sqlite3.connect(path, timeout=30, check_same_thread=False)
    # WAL lets the page read while the worker writes, and survives SIGKILL.
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript(_SCHEMA)
    return db
