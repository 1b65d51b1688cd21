"""A run: one detection job as a folder, `run.json` and an SQLite ledger with a row an image.

Every image is written in one transaction, so a run killed at any moment has lost at most the image
it was looking at. Boxes are kept down to a low floor, after suppression within their class; since
suppression only looks at better boxes, any higher threshold is a filter over what is stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from app.box import Box
from app.formats.atomic import write_bytes, write_json
from app.runs.ledger import connect, create
from app.runs.model_version import ModelVersion
from app.runs.records import Counts, ImageRef, ImageRow, RunError, State
from app.runs.settings import RunSettings, View, check_view, read_settings, view_from
from app.selection import tidy_boxes

if TYPE_CHECKING:
    import supervision as sv

SETTINGS_FILE, LEDGER_FILE, _LOCK = "run.json", "ledger.sqlite", "run.lock"
ADAPTED = "adapted.npz"
"""A copy of the learned classes that the run was begun with, if any."""
LEARNED = "learned"
"""Key of the ledger's `meta`: hex digest of what its boxes were learned from, if they were."""
_COLUMNS = ", ".join(field.name for field in fields(ImageRow))


class Run:
    """An open run folder. Thread-safe; several readers and one worker may have it open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = read_settings(folder / SETTINGS_FILE)
        self._lock = Lock()
        self._db = connect(folder / LEDGER_FILE)
        self._view = "", View.of(self.settings)

    @classmethod
    def create(cls, folder: Path, settings: RunSettings, images: Iterable[ImageRef]) -> Run:
        """A new run; the list of images is fixed here.

        The ledger is complete before `run.json` appears, so a kill leaves a run or none.

        Raises:
            RunError: the folder holds a run already, there are no images, or names repeat.
            OSError: the file of learned classes cannot be read any more.
        """
        if (folder / SETTINGS_FILE).exists():
            raise RunError(f"{folder} holds a run already; go on with --resume, or name another")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stored = settings.to_dict()  # refuses prompts that cannot be read
        if settings.adapted:
            # What it was learned from may learn on; this run keeps what it began with.
            write_bytes(folder / ADAPTED, Path(settings.adapted).read_bytes(), private=True)
        with closing(create(folder / LEDGER_FILE)) as db, db:
            try:
                db.executemany(
                    "INSERT INTO images(file_name, place, member, task) VALUES (?,?,?,?)",
                    ((i.file_name, i.place, i.member, i.task) for i in images),
                )
            except sqlite3.IntegrityError as error:
                raise RunError(f"two images have the same name: {error}") from error
            if not db.execute("SELECT count(*) FROM images").fetchone()[0]:
                raise RunError("there are no images to look at")
        write_json(folder / SETTINGS_FILE, stored, private=True)
        return cls(folder)

    @property
    def view(self) -> View:
        """Which boxes count at present; another process may change it."""
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = 'view'").fetchone()
        if row is not None and row[0] != self._view[0]:
            try:
                self._view = row[0], view_from(json.loads(row[0]))
            except ValueError as error:
                raise RunError(f"{self.folder / LEDGER_FILE}: the stored view: {error}") from error
        return self._view[1]

    @property
    def model_version(self) -> str:
        """Of the boxes that count at present; other boxes have another one."""
        settings, view = self.settings, self.view
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (LEARNED,)).fetchone()
        return str(
            ModelVersion(
                settings.model,
                settings.checkpoint,
                view.vocabulary.hash,
                replace(settings.detection, threshold=view.threshold, max_boxes=view.max_boxes),
                "" if row is None else row[0],
            )
        )

    def apply(self, prompts: str, threshold: float | None = None) -> Counts:
        """Filter the stored boxes by other thresholds; no model runs.

        Args:
            prompts: the run's classes, aliases and negatives, with any thresholds.
            threshold: for classes without their own; None for the present one.

        Raises:
            RunError: the words differ, or a threshold lies below what was stored.
        """
        present = self.view
        view = replace(
            present,
            prompts=prompts,
            threshold=present.threshold if threshold is None else threshold,
        )
        check_view(view, self.settings)
        with self._lock, self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('view', ?)", (json.dumps(asdict(view)),)
            )
            self._db.execute(
                "UPDATE images SET state = CASE WHEN EXISTS(SELECT 1 FROM boxes"
                " JOIN json_each(?) AS own ON own.key = boxes.class"
                " WHERE boxes.image = images.id AND boxes.score >= own.value)"
                " THEN 'done' ELSE 'empty' END WHERE state IN ('done', 'empty')",
                (json.dumps(view.thresholds),),
            )
        return self.counts()

    def counts(self) -> Counts:
        """Images by state."""
        with self._lock:
            rows = self._db.execute("SELECT state, count(*) FROM images GROUP BY state")
            counts = dict(rows)
        if unknown := counts.keys() - {field.name for field in fields(Counts)}:
            raise RunError(
                f"{self.folder / LEDGER_FILE}: unknown state of an image: {min(unknown)!r}"
            )
        return Counts(**counts)

    def images(self, *states: State) -> Iterator[ImageRow]:
        """Rows in the order of the run, of these states or all; a page at a time."""
        last = 0
        wanted = json.dumps(states or ("pending", "done", "empty", "failed"))
        while True:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {_COLUMNS} FROM images WHERE id > ? AND state IN"
                    " (SELECT value FROM json_each(?)) ORDER BY id LIMIT 500",
                    (last, wanted),
                ).fetchall()
            if not rows:
                return
            yield from (ImageRow(*row) for row in rows)
            last = rows[-1][0]

    def image(self, file_name: str) -> ImageRow | None:
        """The image of that name."""
        return self._one("file_name = ?", file_name)

    def beside(self, image: ImageRow, *, after: bool) -> ImageRow | None:
        """The image looked at after (or before) another one, in the order of the run."""
        processed = "state IN ('done', 'empty') AND id"
        if after:
            return self._one(f"{processed} > ? ORDER BY id", image.id)
        return self._one(f"{processed} < ? ORDER BY id DESC", image.id)

    def save(
        self,
        image: ImageRow,
        detections: sv.Detections,
        sha256: str,
        size: tuple[int, int],
        seconds: float,
    ) -> State:
        """Write what was found, down to the floor, in one transaction; returns the state."""
        own = self.view.thresholds
        rows = []
        if detections.class_id is not None and detections.confidence is not None:
            classes, scores = detections.class_id.tolist(), detections.confidence.tolist()
            rows = [
                (image.id, rank, classes[rank], scores[rank], *box)
                for rank, box in enumerate(detections.xyxy.tolist())
            ]
        passing = any(score >= own[index] for _, _, index, score, *_ in rows)
        state: State = "done" if passing else "empty"
        with self._lock, self._db:
            self._db.execute("DELETE FROM boxes WHERE image = ?", (image.id,))
            self._db.executemany("INSERT INTO boxes VALUES (?,?,?,?,?,?,?,?)", rows)
            self._db.execute(
                "UPDATE images SET state = ?, reason = NULL, sha256 = ?, width = ?, height = ?,"
                " seconds = ? WHERE id = ?",
                (state, sha256, *size, seconds, image.id),
            )
        return state

    def fail(self, image: ImageRow, reason: str) -> None:
        """Write down why an image could not be looked at."""
        with self._lock, self._db:
            self._db.execute(
                "UPDATE images SET state = 'failed', reason = ? WHERE id = ?", (reason, image.id)
            )

    def retry_failed(self) -> int:
        """Make failed images pending again; returns how many."""
        with self._lock, self._db:
            return self._db.execute(
                "UPDATE images SET state = 'pending', reason = NULL WHERE state = 'failed'"
            ).rowcount

    def boxes(self, image: ImageRow, view: View | None = None) -> list[Box]:
        """The boxes of an image that count, best first; `view` None means the present one."""
        return [box for _, box in self._rows(image.id, view or self.view)]

    def stored(self, image: ImageRow) -> list[Box]:
        """All boxes of an image down to the floor, best first."""
        return self.boxes(image, self._everything)

    def detections(self, image: ImageRow, view: View | None = None) -> sv.Detections:
        """The same as `supervision.Detections`; `class_id` indexes the vocabulary's names."""
        import numpy as np
        import supervision as sv

        rows = self._rows(image.id, view or self.view)
        return sv.Detections(
            xyxy=np.array([box.xyxy for _, box in rows], np.float32).reshape(-1, 4),
            confidence=np.array([box.score for _, box in rows], np.float32),
            class_id=np.array([index for index, _ in rows], int),
            data={"class_name": np.array([box.name for _, box in rows], dtype=object).astype(str)},
        )

    def class_counts(self) -> dict[str, int]:
        """Boxes that count, by class, over all images."""
        view = self.view
        counts = dict.fromkeys(view.vocabulary.names, 0)
        for image in self.images("done"):
            for box in self.boxes(image, view):
                counts[box.name] += 1
        return counts

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run for a worker; a second worker, in any process, is refused.

        Raises:
            RunError: somebody works on it already.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            with lock:
                yield
        except Timeout as error:
            raise RunError(
                f"{self.folder} is being worked on by another process; wait for it"
            ) from error

    def close(self) -> None:
        """Close the ledger."""
        with self._lock:
            self._db.close()

    def _one(self, where: str, value: str | int) -> ImageRow | None:
        with self._lock:
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM images WHERE {where} LIMIT 1", (value,)
            ).fetchone()
        return None if row is None else ImageRow(*row)

    def _rows(self, image: int, view: View) -> list[tuple[int, Box]]:
        names, own = view.vocabulary.names, view.thresholds
        with self._lock:
            rows = self._db.execute(
                "SELECT class, score, x1, y1, x2, y2 FROM boxes WHERE image = ? ORDER BY rank",
                (image,),
            ).fetchall()
        if any(not 0 <= row[0] < len(names) for row in rows):
            raise RunError(
                f"{self.folder / LEDGER_FILE} has boxes of more classes than {SETTINGS_FILE}"
            )
        found = [
            (row[0], Box(names[row[0]], row[1], row[2:6])) for row in rows if row[1] >= own[row[0]]
        ]
        boxes = [box for _, box in found]
        stays = tidy_boxes(boxes, one_name=view.one_name, whole_things=view.whole_things)
        return [found[index] for index in stays[: view.max_boxes]]

    @cached_property
    def _everything(self) -> View:
        words = self.settings.vocabulary.without_thresholds().serialise()
        return View(words, 0.0, 10**9)
