"""SQLite files of one's own.

To make one and to open one are two acts: what is gone is missed, and a file of somebody else's is
never written into.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_VERSION_AT, _APPLICATION_AT = 60, 68


class DatabaseError(ValueError):
    """A file that is not what it should be; the message names it and says what to do."""


@dataclass(frozen=True)
class Kind:
    """A kind of SQLite file.

    Attributes:
        what: for messages, "a run's ledger".
        application: SQLite's application id, which marks the file as one of ours.
        version: of the schema; files of a later one are refused.
        schema: statements that make the tables.
        tables: their names, by which files from before the mark are known.
    """

    what: str
    application: int
    version: int
    schema: str
    tables: tuple[str, ...]


def create(path: Path, kind: Kind) -> None:
    """Make a new file, complete or not at all; for its owner alone.

    Raises:
        FileExistsError: something is there, be it a link to nothing.
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        with closing(sqlite3.connect(name)) as db:
            # WAL lets others read while one writes, and survives SIGKILL.
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(kind.schema)
            _mark(db, kind)
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already")
        try:
            os.link(name, path)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.rename(name, path)
    finally:
        for left in (name, f"{name}-wal", f"{name}-shm"):
            with suppress(FileNotFoundError):
                os.unlink(left)


def connect(path: Path, kind: Kind, *, timeout: float = 30) -> sqlite3.Connection:
    """Open a file that is there; threads may share the connection under a lock of their own.

    Raises:
        DatabaseError: there is none, or it is another kind of file.
        sqlite3.Error: it cannot be opened.
    """
    marked = _check(path, kind)
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, check_same_thread=False
    )
    try:
        if not marked:
            _mark(db, kind)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.OperationalError:  # locked, a full disk: the file may be good
        db.close()
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # names in it that are no text
        db.close()
        raise DatabaseError(f"{path} is damaged ({error}); put a copy of it back") from error
    except BaseException:
        db.close()
        raise
    return db


def is_of(path: Path, kind: Kind) -> bool:
    """Whether `connect` would take it."""
    try:
        _check(path, kind)
    except (DatabaseError, OSError, sqlite3.Error):
        return False
    return True


def _check(path: Path, kind: Kind) -> bool:
    """Whether the file carries the mark; one from before the mark has to have the tables."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError as error:
        link = " (a link to nothing)" if path.is_symlink() else ""
        raise DatabaseError(f"{path} is gone{link}: it was {kind.what}; put it back") from error
    except OSError as error:
        raise DatabaseError(f"{path} cannot be read ({error}); check its permissions") from error
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        kind_of = "is empty" if not header else "is no SQLite file"
        raise DatabaseError(f"{path} {kind_of}, so it is not {kind.what}; put the right one back")
    (application,) = struct.unpack_from(">i", header, _APPLICATION_AT)
    (version,) = struct.unpack_from(">i", header, _VERSION_AT)
    if application not in (0, kind.application):
        raise DatabaseError(
            f"{path} is a file of another program, not {kind.what}; put the right one back"
        )
    if application and version > kind.version:
        raise DatabaseError(
            f"{path} was written by a later version ({version}, this one knows {kind.version}); "
            "use that one"
        )
    if not application and not _has_tables(path, kind):
        raise DatabaseError(
            f"{path} is a file of another program, not {kind.what}; put the right one back"
        )
    return bool(application)


def _has_tables(path: Path, kind: Kind) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            found = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False
    return found.issuperset(kind.tables)


def _mark(db: sqlite3.Connection, kind: Kind) -> None:
    db.execute(f"PRAGMA application_id={kind.application}")
    db.execute(f"PRAGMA user_version={kind.version}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # into the header, where `_check` looks
