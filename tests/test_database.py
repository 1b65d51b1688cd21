"""SQLite files: what is gone is missed, and nobody else's file is written into."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from detclipv2.database import DatabaseError, Kind, connect, create, is_of

KIND = Kind("a list of things", 0x44435254, 2, "CREATE TABLE things(name TEXT);", ("things",))


def foreign(path: Path, application: int = 0, table: str = "notes", version: int = 0) -> bytes:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE {table}(name TEXT)")
        db.execute(f"PRAGMA application_id={application}")
        db.execute(f"PRAGMA user_version={version}")
    return path.read_bytes()


def test_a_file_is_made_once_and_opened_as_often_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "things.sqlite"
    create(path, KIND)
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(connect(path, KIND)) as db, db:
        db.execute("INSERT INTO things VALUES ('cup')")
    with pytest.raises(FileExistsError):
        create(path, KIND)
    with closing(connect(path, KIND)) as db:
        assert db.execute("SELECT name FROM things").fetchall() == [("cup",)]
    assert [p.name for p in tmp_path.iterdir()] == ["things.sqlite"]


def test_what_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "things.sqlite"
    with pytest.raises(DatabaseError, match="is gone: it was a list of things"):
        connect(path, KIND)
    assert not path.exists()
    target = tmp_path / "elsewhere.sqlite"
    path.symlink_to(target)
    with pytest.raises(DatabaseError, match="a link to nothing"):
        connect(path, KIND)
    with pytest.raises(FileExistsError):
        create(path, KIND)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"not a database" * 20, "is no SQLite file")]
)
def test_other_files_are_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "things.sqlite"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=message):
        connect(path, KIND)
    assert path.read_bytes() == content and not is_of(path, KIND)


@pytest.mark.parametrize(
    ("application", "table", "version", "message"),
    [
        (0, "notes", 0, "another program"),
        (7, "things", 0, "another program"),
        (KIND.application, "things", 3, "later version"),
    ],
)
def test_databases_of_others_are_left_alone(
    tmp_path: Path, application: int, table: str, version: int, message: str
) -> None:
    path = tmp_path / "things.sqlite"
    before = foreign(path, application, table, version)
    with pytest.raises(DatabaseError, match=message):
        connect(path, KIND)
    assert path.read_bytes() == before


def test_files_from_before_the_mark_are_known_by_their_tables(tmp_path: Path) -> None:
    path = tmp_path / "things.sqlite"
    foreign(path, 0, "things")
    connect(path, KIND).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (KIND.application,)
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
