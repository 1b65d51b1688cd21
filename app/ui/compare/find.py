"""From the Compare tab's controls to photos and sides, for the page and for the endpoint.

No gradio here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.comparison import Side
from app.engine import Engine
from app.runs.files import SourceError
from app.runs.sources import find_images
from app.ui.shared.permissions import Permissions
from app.ui.shared.trouble import Trouble
from detclipv2.detectors.errors import DetectorError
from detclipv2.detectors.open import is_shipped, open_detector
from detclipv2.detectors.protocol import Detector
from detclipv2.language.vocabulary import VocabularyError
from detclipv2.serving import Looks


@dataclass(frozen=True)
class CompareInputs:
    """What the tab's controls say.

    Attributes:
        photo: a photo's file; None without one.
        folder: where more photos are; it goes first.
        words: of side A and B; an empty B has those of A.
        templates: sentences round the words; empty for the detector's own.
        models: names or folders; empty for the app's own.
        looks: see `DetectSettings`.
        threshold: lowest score.
    """

    photo: str | None
    folder: str
    words: tuple[str, str]
    templates: tuple[str, str]
    models: tuple[str, str]
    looks: tuple[Looks, Looks]
    threshold: float

    @property
    def root(self) -> Path | None:
        """The folder, if one is named; `prepare` finds out whether it can be one."""
        return Path(self.folder.strip()).expanduser() if self.folder.strip() else None


@dataclass(frozen=True)
class Prepared:
    """A comparison that can begin."""

    paths: tuple[Path, ...]
    sides: tuple[Side, Side]


class Detectors:
    """The app's detector, and the last other one, which stays loaded. Thread-safe.

    Args:
        engine: the one engine of this app.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._other: tuple[str, Detector[Any]] | None = None
        self._lock = threading.Lock()

    def is_other(self, model: str) -> bool:
        """Whether a model would be read from a path."""
        return model not in ("", self.engine.name) and not is_shipped(model)

    def get(self, model: str) -> Detector[Any]:
        """The detector of that name or folder.

        Raises:
            DetectorError: there is none.
        """
        if model in ("", self.engine.name):
            return self.engine.predictor
        with self._lock:
            if self._other is None or self._other[0] != model:
                self._other = (model, open_detector(model, lock=self.engine.predictor.lock))
            return self._other[1]


def prepare(detectors: Detectors, inputs: CompareInputs, may: Permissions) -> Prepared | Trouble:
    """Photos and both sides, or why they cannot be compared."""
    try:
        paths = _photos(inputs, may)
        named = [model.strip() for model in inputs.models]
        may.paths([model for model in named if detectors.is_other(model)])
        words = (inputs.words[0], inputs.words[1] or inputs.words[0])
        a, b = (_side(detectors, inputs, "AB"[index], words[index], index) for index in (0, 1))
    except (DetectorError, VocabularyError, ValueError) as error:
        return Trouble.of(error)
    return Prepared(tuple(paths), (a, b))


def _photos(inputs: CompareInputs, may: Permissions) -> list[Path]:
    named = inputs.folder.strip()
    if not named:
        if inputs.photo is None:
            raise DetectorError(
                "No photo yet. Upload, drop or paste one, name a folder, or try the sample."
            )
        return [Path(inputs.photo)]
    may.paths([named])
    root = Path(named).expanduser()
    if not root.is_dir():
        raise DetectorError(f"no folder {named!r} on the machine that serves this page")
    try:
        found = [Path(image.place) for image in find_images([root])]
    except SourceError as error:
        raise DetectorError(str(error)) from error
    may.files(found)
    return found


def _side(detectors: Detectors, inputs: CompareInputs, name: str, words: str, index: int) -> Side:
    if not words.strip():
        raise DetectorError(f"side {name} has no words yet; type what to look for")
    detector = detectors.get(inputs.models[index].strip())
    try:
        vocabulary = detector.vocabulary(words)
    except VocabularyError as error:
        raise VocabularyError(f"side {name}, {error}") from error
    return Side(
        detector,
        vocabulary,
        inputs.templates[index].strip() or None,
        replace(detectors.engine.defaults, threshold=inputs.threshold, looks=inputs.looks[index]),
    )
