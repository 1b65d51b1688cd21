"""Learned boxes in the place of a run's own, which are kept beside them in its ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing

from app.index.ask import Found
from app.runs.ledger import connect
from app.runs.records import RunError
from app.runs.settings import View, view_from
from app.runs.store import LEARNED, LEDGER_FILE, Run
from detclipv2.language.vocabulary import Vocabulary

_KEPT, _PHOTOS, _VIEW = "boxes_by_words", "photos_by_words", "view_by_words"


def replace_boxes(run: Run, found: Iterable[Found], vocabulary: Vocabulary, digest: str) -> int:
    """Write learned boxes, in one transaction, and set thresholds; returns how many photos.

    Args:
        run: nobody else may work on it.
        found: boxes of photos by the ledger's ids.
        vocabulary: the run's, with thresholds.
        digest: of what was learned; it becomes part of the model version.

    Raises:
        RunError: another process works on the run, or a threshold lies below what it stores.
    """
    count = 0
    with run.working(), closing(connect(run.folder / LEDGER_FILE)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"CREATE TABLE IF NOT EXISTS {_KEPT} AS SELECT * FROM boxes WHERE 0")
        db.execute(f"CREATE TABLE IF NOT EXISTS {_PHOTOS}(image INTEGER PRIMARY KEY)")
        db.execute(
            "INSERT OR IGNORE INTO meta SELECT ?, coalesce((SELECT value FROM meta"
            " WHERE key = 'view'), '')",
            (_VIEW,),
        )
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (LEARNED, digest))
        for one in found:
            image = (one.image,)
            # What is kept is the words', not what was learned before.
            if db.execute(f"INSERT OR IGNORE INTO {_PHOTOS} VALUES (?)", image).rowcount:
                db.execute(f"INSERT INTO {_KEPT} SELECT * FROM boxes WHERE image = ?", image)
            columns = one.boxes.tolist(), one.scores.tolist(), one.classes.tolist()
            rows = enumerate(zip(*columns, strict=True))
            db.execute("DELETE FROM boxes WHERE image = ?", image)
            db.executemany(
                "INSERT INTO boxes VALUES (?,?,?,?,?,?,?,?)",
                ((one.image, rank, index, score, *box) for rank, (box, score, index) in rows),
            )
            count += 1
    run.apply(vocabulary.serialise())
    return count


def restore_boxes(run: Run) -> bool:
    """Put the words' boxes and thresholds back; False where nothing was replaced.

    Raises:
        RunError: another process works on the run.
    """
    with run.working(), closing(connect(run.folder / LEDGER_FILE)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if db.execute(known, (_KEPT,)).fetchone() is None:
            return False
        (text,) = db.execute("SELECT value FROM meta WHERE key = ?", (_VIEW,)).fetchone()
        db.execute(f"DELETE FROM boxes WHERE image IN (SELECT image FROM {_PHOTOS})")
        db.execute(f"INSERT INTO boxes SELECT * FROM {_KEPT}")
        db.execute(f"DROP TABLE {_KEPT}")
        db.execute(f"DROP TABLE {_PHOTOS}")
        db.execute("DELETE FROM meta WHERE key IN ('view', ?, ?)", (_VIEW, LEARNED))
        if text:
            db.execute("INSERT INTO meta VALUES ('view', ?)", (text,))
    view = _view(run, text)
    run.apply(view.prompts, view.threshold)
    return True


def view_of_words(run: Run) -> View:
    """Which of the run's boxes counted before anything was learned.

    Raises:
        RunError: it cannot be read.
    """
    with closing(connect(run.folder / LEDGER_FILE)) as db:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_VIEW,)).fetchone()
    return run.view if row is None else _view(run, row[0])


def _view(run: Run, text: str) -> View:
    if not text:
        return View.of(run.settings)
    try:
        return view_from(json.loads(text))
    except ValueError as error:
        raise RunError(f"{run.folder / LEDGER_FILE}: the view before learning: {error}") from error
