"""How a run's boxes are made, fixed when it begins, and which of them count, which may change."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from app.engine_types import Settings
from app.runs.records import RunError
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.serving import MAX_TILES

if TYPE_CHECKING:
    from app.engine import Engine

FORMAT = 1
"""Of the settings' file."""
THRESHOLD = 0.3
"""Lowest score of classes without a threshold of their own, unless somebody says otherwise."""
FLOOR = 0.05
"""Lowest score that is stored unless a threshold lies lower."""


@dataclass(frozen=True)
class RunSettings:
    """How a run's boxes were made; never changed once the run exists.

    Attributes:
        model: the detector's name.
        checkpoint: hex digest of its weights.
        weights: the checkpoint folder, as an absolute path; empty for a shipped model.
        prompts: the written vocabulary.
        threshold: lowest score of classes without their own, in 0..1.
        nms_iou: of two boxes of one class that overlap more, the weaker went.
        max_boxes: boxes an image that are shown, the best ones.
        size: long side of the network's input, None for the model's own.
        tiles: above 1 so many tiles along the long side were looked at, too.
        floor: lowest score that is stored.
        source: where the images came from, in the user's words.
        created: when, ISO 8601 UTC.
        begun_by: the address of the visitor who began it from another machine; else empty.
        versions: of the packages that made the boxes.
    """

    model: str
    checkpoint: str
    prompts: str
    threshold: float = THRESHOLD
    nms_iou: float = 0.6
    max_boxes: int = 100
    size: int | None = None
    tiles: int = 1
    floor: float = FLOOR
    source: str = ""
    created: str = ""
    begun_by: str = ""
    weights: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("threshold", "nms_iou", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise RunError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if self.max_boxes < 1:
            raise RunError(f"max_boxes must be 1 or more, got {self.max_boxes}")
        if not 1 <= self.tiles <= MAX_TILES:
            raise RunError(f"tiles must lie in 1..{MAX_TILES}, got {self.tiles}; try 2")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The prompts, read."""
        return _parsed(self.prompts)

    @property
    def detection(self) -> Settings:
        """What the detector is asked for."""
        return Settings(self.threshold, self.nms_iou, self.max_boxes, self.tiles)

    @property
    def lowest(self) -> float:
        """Lowest score that is stored: the floor, unless a threshold lies lower."""
        return min((self.floor, self.threshold, *self.vocabulary.thresholds.values()))


@lru_cache(maxsize=64)
def _parsed(prompts: str) -> Vocabulary:
    """Settings and views of many runs have the same prompts."""
    return Vocabulary.deserialise(prompts)


def read_settings(path: Path) -> RunSettings:
    """The settings of a run from its file.

    Raises:
        RunError: there is none, a key is missing or unknown, a value is of another kind, or the
            prompts are others than when the run began; the message names it.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} is no run folder: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
        raise RunError(f"{path} was written by another version; use the version that made it")
    version = stored.pop("vocabulary", None)
    try:
        settings = _checked(RunSettings, stored)
    except RunError as error:
        raise RunError(f"{path}: {error}; put back what the run wrote") from error
    if settings.vocabulary.hash != version:
        raise RunError(
            f"{path}: the prompts are not those the run began with; put back what the run wrote"
        )
    return settings


def view_from(stored: Any) -> View:
    """The view of a run as its ledger holds it.

    Raises:
        RunError: as `read_settings`.
    """
    return _checked(View, stored)


Stored = TypeVar("Stored")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "int | None": (int, NoneType),
    "dict[str, str]": (dict,),
}


def _checked(kind: type[Stored], stored: Any) -> Stored:
    if not isinstance(stored, dict):
        raise RunError(f"it holds {type(stored).__name__} where a map of settings should be")
    declared = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := stored.keys() - declared.keys():
        raise RunError(f"the key {min(unknown, key=str)!r} is not known; remove it")
    for name, field_ in declared.items():
        if name not in stored:
            if field_.default is MISSING and field_.default_factory is MISSING:
                raise RunError(f"the key {name!r} is missing")
            continue
        value, kinds = stored[name], _KINDS[str(field_.type)]
        if not isinstance(value, kinds) or (isinstance(value, bool)):
            raise RunError(f"{name} is {value!r:.60}, not {field_.type}")
    try:
        made = kind(**stored)
        made.vocabulary  # type: ignore[attr-defined]  # noqa: B018
    except VocabularyError as error:
        raise RunError(f"prompts: {error}") from error
    return made


@dataclass(frozen=True)
class View:
    """Which of the stored boxes count: the vocabulary's thresholds, else `threshold`."""

    prompts: str
    threshold: float
    max_boxes: int

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise RunError(f"threshold must lie in 0..1, got {self.threshold:g}")
        if self.max_boxes < 1:
            raise RunError(f"max_boxes must be 1 or more, got {self.max_boxes}")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The prompts, read."""
        return _parsed(self.prompts)

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """The threshold of every returned class."""
        return tuple(
            self.threshold if concept.threshold is None else concept.threshold
            for concept in self.vocabulary.returned
        )


def check_view(view: View, settings: RunSettings) -> None:
    """Whether what a run stores can be seen so.

    Raises:
        RunError: the words differ, or a threshold lies below what was stored.
    """
    try:
        vocabulary = view.vocabulary
    except VocabularyError as error:
        raise RunError(str(error)) from error
    if vocabulary.without_thresholds() != settings.vocabulary.without_thresholds():
        raise RunError("other words need a new run; only thresholds can change in a finished one")
    floor = settings.lowest
    for name, wanted in zip(vocabulary.names, view.thresholds, strict=True):
        if not floor <= wanted <= 1:
            raise RunError(
                f"threshold {wanted:g} of {name!r} must lie in {floor:g}..1: lower boxes were "
                "not stored; start a new run with a lower floor"
            )


def settings_of(engine: Engine, prompts: str, **settings: Any) -> RunSettings:
    """The settings of a run that begins now with this engine, at the engine's size."""
    from datetime import UTC, datetime

    return RunSettings(
        engine.name,
        engine.fingerprint,
        prompts,
        weights=engine.weights,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        **{"size": engine.asked_size, **settings},
    )


def _versions() -> dict[str, str]:
    """Versions of what makes boxes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    packages = (
        "torch",
        "torchvision",
        "openvino",
        "timm",
        "transformers",
        "supervision",
        "pillow",
        "opencv-python",
    )
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - a vendored install
            found[name] = "unknown"
    from detclipv2 import __version__

    return {"detclipv2": __version__, **found}
