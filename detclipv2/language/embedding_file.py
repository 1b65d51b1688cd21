"""Vectors of texts on disk, under keys of what they depend on."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detclipv2.database import DatabaseError, Kind, connect, create

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "DETCLIPV2_CACHE"
"""Environment variable that names another cache folder."""
_CACHE = Kind(
    "a cache of text embeddings",
    0x44435245,
    1,
    "CREATE TABLE embeddings (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID",
    ("embeddings",),
)


def default_cache_dir() -> Path:
    """`$DETCLIPV2_CACHE`, or the system's place for an application's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("detclipv2", appauthor=False)


class EmbeddingFile:
    """Rows of `width` floats in an SQLite file of `folder`, which several processes may share.

    A file that cannot be read or written costs a warning and time, never a result.
    """

    # A connection a call: threads and forks cannot share one wrongly.
    def __init__(self, folder: Path, width: int) -> None:
        self._file = folder / "text-embeddings.sqlite3"
        self._bytes = width * 4
        self._usable = True

    def read(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The rows among `keys` that are stored and whole."""
        rows: dict[bytes, NDArray[np.float32]] = {}
        if not self._usable:
            return rows
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(keys), 500):  # SQLite allows 999 variables a statement
                    part = keys[start : start + 500]
                    marks = ",".join("?" * len(part))
                    statement = f"SELECT key, vector FROM embeddings WHERE key IN ({marks})"
                    for key, vector in connection.execute(statement, part):
                        if len(vector) != self._bytes:
                            continue
                        row = np.frombuffer(vector, "<f4")
                        if np.isfinite(row).all():
                            rows[key] = row
        except (sqlite3.Error, OSError, DatabaseError) as error:
            self._give_up(error)
        return rows

    def write(self, rows: dict[bytes, NDArray[np.float32]]) -> None:
        """Store rows; another process may have stored the same ones meanwhile."""
        if not self._usable:
            return
        values = [(key, row.astype("<f4").tobytes()) for key, row in rows.items()]
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", values)
        except (sqlite3.Error, OSError, DatabaseError) as error:
            self._give_up(error)

    def _connect(self) -> sqlite3.Connection:
        if not os.path.lexists(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # of a process that begins at the same time
                create(self._file, _CACHE)
        return connect(self._file, _CACHE)

    def _give_up(self, error: Exception) -> None:
        if self._usable:  # said once
            logger.warning(
                "text-embedding cache %s is not usable (%s); going on without it. Delete the file "
                "or set %s to a writable folder.",
                self._file,
                error,
                CACHE_VARIABLE,
            )
        self._usable = False
