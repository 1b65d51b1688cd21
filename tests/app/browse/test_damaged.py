"""Files of others and damaged ones in the places where browse runs and caches lie."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.browse.job import readable_runs
from app.browse.records import About
from app.browse.store import FILE, BrowseRun
from detclipv2.database import DatabaseError
from detclipv2.datasets.captions import Captioned
from detclipv2.language.text_cache import TextEmbeddings
from detclipv2.model import DetCLIPv2


def test_a_damaged_run_takes_the_list_from_nobody(tmp_path: Path) -> None:
    good = BrowseRun.make(tmp_path / "good")
    about = About("set", "tiny", "abc", {})
    good.begin([Captioned("a", tmp_path / "a.jpg", "a cat")], about)
    for name, content in (("empty", b""), ("text", b"no database" * 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_bytes(content)
    other = BrowseRun.make(tmp_path / "other")
    other.begin([Captioned("a", tmp_path / "a.jpg", "a cat")], about)
    with closing(sqlite3.connect(other.folder / FILE)) as db, db:
        db.execute("UPDATE meta SET value = '{\"colour\": 1}'")
    assert [run.folder.name for run in readable_runs(tmp_path)] == ["good"]
    with pytest.raises(DatabaseError, match="is empty"):
        BrowseRun.make(tmp_path / "empty")
    with pytest.raises(DatabaseError, match="is gone"):
        BrowseRun(tmp_path / "nowhere").counts()
    assert not (tmp_path / "nowhere").exists(), "to look makes nothing"


@pytest.mark.parametrize("kind", ["foreign", "empty", "link"])
def test_the_cache_of_embeddings_writes_into_no_other_file(
    tiny_model: DetCLIPv2, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "text-embeddings.sqlite3"
    if kind == "foreign":
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("CREATE TABLE money(amount REAL)")
    elif kind == "empty":
        file.touch()
    else:
        file.symlink_to(tmp_path / "target")
    before = file.read_bytes() if file.exists() else None
    rows = TextEmbeddings(tiny_model, tmp_path).encode(["cat", "dog"])
    assert rows.shape[0] == 2 and "going on without it" in caplog.text
    assert (file.read_bytes() if file.exists() else None) == before
    assert not (tmp_path / "target").exists()
