"""Aligning a data set in the background, one photo at a time."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.browse.records import About
from app.browse.store import BrowseRun
from detclipv2.datasets.captions import find_captions
from detclipv2.inference.images import ImageError
from detclipv2.language.phrases import noun_phrases_of
from detclipv2.serving import DEFAULTS, DetectSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detclipv2.datasets.captions import Captioned
    from detclipv2.inference.predictor import Predictor
    from detclipv2.language.phrases import Phrase

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "DETCLIPV2_BROWSE"
_CHUNK = 64


def runs_folder() -> Path:
    """Where browse runs lie: `$DETCLIPV2_BROWSE`, or the system's place for an app's data."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("detclipv2", appauthor=False) / "browse"


def run_of(
    source: Path, checkpoint: str, folder: Path | None = None, settings: DetectSettings = DEFAULTS
) -> BrowseRun:
    """The run of a data set under a checkpoint: always the same folder, so that it goes on.

    Photos that are looked at otherwise than the model does by itself make a run of their own.
    """
    unusual = (str(v) for v in (settings.size, settings.looks) if v not in (None, "thorough"))
    key = "\0".join((str(source.resolve()), checkpoint, *unusual))
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return BrowseRun.make((folder or runs_folder()) / digest)


def readable_runs(folder: Path | None = None) -> list[BrowseRun]:
    """All runs that can be read, the last used first."""
    found = []
    for file in (folder or runs_folder()).glob("*/alignments.sqlite"):
        run = BrowseRun(file.parent)
        with suppress(OSError, TypeError, ValueError, sqlite3.Error):  # one may be damaged
            if run.about is not None:
                found.append((file.stat().st_mtime, run))
    return [run for _, run in sorted(found, key=lambda entry: entry[0], reverse=True)]


class BrowseJob:
    """A run being worked off by a thread of its own.

    Attributes:
        error: why it ended early; empty where it did not.
    """

    def __init__(
        self,
        run: BrowseRun,
        source: Path,
        predictor: Predictor,
        model: str,
        settings: DetectSettings = DEFAULTS,
    ) -> None:
        self.run, self.error = run, ""
        self._source, self._predictor, self._model = source, predictor, model
        self._size, self._looks = settings.size, settings.looks
        self._stop = threading.Event()
        self._done, self._began = 0, time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True, name="browse")

    def start(self) -> None:
        """Begin, or go on."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the photo at hand; what is done is kept."""
        self._stop.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    @property
    def running(self) -> bool:
        """Is it at work?"""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Was it asked to stop?"""
        return self._stop.is_set()

    @property
    def rate(self) -> float:
        """Photos a second so far."""
        return self._done / max(1e-9, time.monotonic() - self._began)

    def _work(self) -> None:
        try:
            if self.run.about is None:
                self._enter()
            for number, photo, phrases in self._waiting():
                if self._stop.is_set():
                    return
                self._align(number, photo, phrases)
                self._done += 1
        except Exception as error:  # shown on the page; nobody waits for this thread's result
            log.exception("aligning %s ended early", self._source)
            self.error = str(error)

    def _enter(self) -> None:
        left: Counter[str] = Counter()

        def leave(reason: str, _name: str) -> None:
            left[reason] += 1

        about = About(str(self._source), self._model, self._predictor.fingerprint, {})
        self.run.begin(find_captions(self._source, leave), about)
        self.run.finish_entry(About(about.source, about.model, about.checkpoint, dict(left)))

    def _waiting(self) -> Iterator[tuple[int, Captioned, list[Phrase]]]:
        """Pending photos with their captions' phrases, which are parsed many at a time."""
        chunk: list[tuple[int, Captioned]] = []
        for entry in self.run.pending():
            chunk.append(entry)
            if len(chunk) == _CHUNK:
                yield from _parsed(chunk)
                chunk = []
        yield from _parsed(chunk)

    def _align(self, number: int, photo: Captioned, phrases: list[Phrase]) -> None:
        if not phrases:
            self.run.write_state(number, "empty", "the caption names nothing")
            return
        try:
            encoded = self._predictor.first_look(photo.read(), self._size, self._looks)
            found = self._predictor.align(encoded, phrases, caption=photo.caption)
        except (ImageError, OSError, ValueError) as error:
            self.run.write_state(number, "failed", str(error)[:300])
            return
        self.run.write(number, found)


def _parsed(chunk: list[tuple[int, Captioned]]) -> Iterator[tuple[int, Captioned, list[Phrase]]]:
    every = noun_phrases_of(photo.caption for _, photo in chunk)
    for (number, photo), phrases in zip(chunk, every, strict=True):
        yield number, photo, phrases
