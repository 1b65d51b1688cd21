"""A live backend that uses what a run has learned by now, and learns when Label Studio asks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from app.adaptation.export import learned_file, read_adapted
from app.adaptation.learn_run import learn_run, words_by
from app.adaptation.state import LearnedError
from app.commands.project_reviews import import_project
from app.labelstudio.api.connection import Connection
from app.review.decisions import Decisions
from app.runs.store import Run

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor

log = logging.getLogger(__name__)


class LearnedFile:
    """What was learned, read again whenever its file changes. Thread-safe.

    Without the file the words alone count; one that cannot be read leaves what was there before.

    Args:
        path: the file, or the folder of a run that may have learned nothing yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._read: tuple[Path, int, int] | None = None
        self._adapted: Predictor | None = None

    def __call__(self, predictor: Predictor) -> Predictor:
        """The predictor with what the file holds now.

        Args:
            predictor: always the same one.
        """
        with self._lock:
            file = learned_file(self._path)
            try:
                found = file.stat()
                state = file, found.st_mtime_ns, found.st_size
            except OSError:
                self._read, self._adapted = None, None
                return predictor
            if state != self._read:
                self._read = state
                try:
                    self._adapted = predictor.adapted(read_adapted(file))
                    log.info("%s: its classes count from now on", file)
                except ValueError as error:
                    log.warning("what was learned before still counts: %s", error)
            return self._adapted or predictor


def learner(
    folder: Path, connection: Connection, document_root: Path | None
) -> Callable[[Any, int], None]:
    """What takes over a project's annotations into a run, and learns from them.

    Args:
        folder: of the run.
        connection: the server.
        document_root: Label Studio's folder of local files.
    """

    def learn(predictor: Predictor, project: int) -> None:
        with closing(Run(folder)) as run:
            with Decisions(folder) as decisions:
                counts = import_project(
                    run, decisions, connection, project, document_root, "Label Studio"
                )
            log.info("project %d: %d photos of %s are reviewed", project, counts[0], folder)
            done = learn_run(run, words_by(lambda: predictor))
        changed = [r.name for r in done.learned.adapted.reports if r.basis != "words"]
        log.info("project %d: learned %s", project, ", ".join(changed) or "nothing that is better")

    return learn


def check_learned(path: Path) -> None:
    """Find out before serving whether a file can be used; a run may have learned nothing yet.

    Raises:
        LearnedError: no such file, or a damaged one.
    """
    if not path.exists():
        raise LearnedError(f"there is no {path}; `detclipv2 learn RUN` makes a file")
    if learned_file(path).exists():
        read_adapted(path)
