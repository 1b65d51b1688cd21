"""How a run's boxes are made, fixed when it begins, and which of them count, which may change."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from app.runs.model_version import USUAL
from app.runs.records import RunError
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.serving import DEFAULTS, FLOOR, DetectChanges, DetectSettings, check_share

if TYPE_CHECKING:
    from app.engine import Engine

FORMAT = 1
"""Of the settings' file."""
DETECTION = frozenset(field.name for field in fields(DetectSettings))
"""Keys of the settings' file that are fields of `RunSettings.detection`."""


@dataclass(frozen=True)
class RunSettings:
    """How a run's boxes were made; never changed once the run exists.

    Attributes:
        model: the detector's name.
        checkpoint: hex digest of its weights.
        weights: the checkpoint folder, as an absolute path; empty for a shipped model.
        prompts: the written vocabulary.
        detection: what the detector was asked for; in the file its fields stand among the others.
        floor: lowest score that is stored.
        source: where the images came from, in the user's words.
        created: when, ISO 8601 UTC.
        begun_by: the address of the visitor who began it from another machine; else empty.
        adapted: the file of learned classes that was named, of which the run has a copy; empty for
            none.
        versions: of the packages that made the boxes.
    """

    model: str
    checkpoint: str
    prompts: str
    detection: DetectSettings = DEFAULTS
    floor: float = FLOOR
    source: str = ""
    created: str = ""
    begun_by: str = ""
    weights: str = ""
    adapted: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            check_share("floor", self.floor)
        except ValueError as error:
            raise RunError(str(error)) from error

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The prompts, read."""
        return _parsed(self.prompts)

    @property
    def lowest(self) -> float:
        """Lowest score that is stored: the floor, unless a threshold lies lower."""
        return min((self.floor, self.detection.threshold, *self.vocabulary.thresholds.values()))

    def to_dict(self) -> dict[str, Any]:
        """As `read_settings` reads them from the file."""
        own = asdict(self)
        return {"format": FORMAT, **own.pop("detection"), **own, "vocabulary": self.vocabulary.hash}


@lru_cache(maxsize=64)
def _parsed(prompts: str) -> Vocabulary:
    """Settings and views of many runs have the same prompts."""
    try:
        return Vocabulary.deserialise(prompts)
    except VocabularyError as error:
        raise RunError(f"prompts: {error}") from error


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
        own = {key: value for key, value in stored.items() if key not in DETECTION}
        # a field that the file lacks is younger than the run, which was made as was usual
        asked = asdict(USUAL) | {key: stored[key] for key in DETECTION & stored.keys()}
        settings = _checked(RunSettings, own, detection=_checked(DetectSettings, asked))
        settings.vocabulary  # noqa: B018 - read, to find out whether it can be
    except ValueError as error:
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
    view = _checked(View, stored)
    view.vocabulary  # noqa: B018 - likewise
    return view


Stored = TypeVar("Stored")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "int | None": (int, NoneType),
    "dict[str, str]": (dict,),
    "Looks": (str,),
    "bool": (bool,),
}


def _checked(kind: type[Stored], stored: Any, **given: Any) -> Stored:
    """What a file holds of a dataclass, whose other fields are `given`."""
    if not isinstance(stored, dict):
        raise RunError(f"it holds {type(stored).__name__} where a map of settings should be")
    every = fields(kind)  # type: ignore[arg-type]
    declared = {field.name: field for field in every if field.name not in given}
    if unknown := stored.keys() - declared.keys():
        raise RunError(f"the key {min(unknown, key=str)!r} is not known; remove it")
    for name, field_ in declared.items():
        if name not in stored:
            if field_.default is MISSING and field_.default_factory is MISSING:
                raise RunError(f"the key {name!r} is missing")
            continue
        value, kinds = stored[name], _KINDS[str(field_.type)]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise RunError(f"{name} is {value!r:.60}, not {field_.type}")
    return kind(**stored, **given)


@dataclass(frozen=True)
class View:
    """Which of the stored boxes count: the vocabulary's thresholds, else `threshold`.

    `one_name` and `whole_things` are as in `DetectSettings`; they come after the thresholds.
    """

    prompts: str
    threshold: float
    max_boxes: int
    one_name: bool = False
    whole_things: bool = False

    @classmethod
    def of(cls, settings: RunSettings) -> View:
        """What counts in a run that begins."""
        asked = settings.detection
        rules = asked.one_name, asked.whole_things
        return cls(settings.prompts, asked.threshold, asked.max_boxes, *rules)

    def __post_init__(self) -> None:
        try:
            DetectSettings(threshold=self.threshold, max_boxes=self.max_boxes)
        except ValueError as error:
            raise RunError(str(error)) from error

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
    vocabulary = view.vocabulary
    if vocabulary.without_thresholds() != settings.vocabulary.without_thresholds():
        raise RunError("other words need a new run; only thresholds can change in a finished one")
    floor = settings.lowest
    for name, wanted in zip(vocabulary.names, view.thresholds, strict=True):
        if not floor <= wanted <= 1:
            raise RunError(
                f"threshold {wanted:g} of {name!r} must lie in {floor:g}..1: lower boxes were "
                "not stored; start a new run with a lower floor"
            )


def settings_of(
    engine: Engine,
    prompts: str,
    *,
    floor: float = FLOOR,
    source: str = "",
    begun_by: str = "",
    **changes: Unpack[DetectChanges],
) -> RunSettings:
    """The settings of a run that begins now with this engine.

    Args:
        engine: looks at the images.
        prompts: see `RunSettings`.
        floor: see `RunSettings`.
        source: see `RunSettings`.
        begun_by: see `RunSettings`.
        changes: what is asked for otherwise than by the engine's defaults for lists.

    Raises:
        ValueError: a setting out of range.
    """
    from datetime import UTC, datetime

    return RunSettings(
        engine.name,
        engine.fingerprint,
        prompts,
        replace(engine.list_defaults, **changes),
        floor,
        source,
        datetime.now(UTC).isoformat(timespec="seconds"),
        begun_by,
        engine.weights,
        engine.adapted,
        _versions(),
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
