"""How a run's boxes are made, fixed when it begins, and which of them count, which may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from app.runs.records import RunError
from detclipv2.inference.tiles import MAX_TILES
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from app.engine import Engine

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
        return Vocabulary.parse(self.prompts)

    @property
    def lowest(self) -> float:
        """Lowest score that is stored: the floor, unless a threshold lies lower."""
        return min((self.floor, self.threshold, *self.vocabulary.thresholds.values()))


@dataclass(frozen=True)
class View:
    """Which of the stored boxes count: the vocabulary's thresholds, else `threshold`."""

    prompts: str
    threshold: float
    max_boxes: int

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise RunError(f"threshold must lie in 0..1, got {self.threshold:g}")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The prompts, read."""
        return Vocabulary.parse(self.prompts)

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """The threshold of every returned class."""
        return tuple(
            self.threshold if concept.threshold is None else concept.threshold
            for concept in self.vocabulary.returned
        )


def look_suffix(size: int | None, tiles: int) -> str:
    """What a model version says of how photos were looked at: `+s` long side, `+t` tiles.

    Empty for the model's own size and no tiles. Other ways to look give other boxes.
    """
    return (f"+s{size}" if size else "") + (f"+t{tiles}" if tiles > 1 else "")


def filter_suffix(
    threshold: float, nms_iou: float = RunSettings.nms_iou, max_boxes: int = RunSettings.max_boxes
) -> str:
    """What a model version says of which boxes count: `@` threshold, `+n` overlap, `+m` boxes.

    Each is left out where it is the usual one. Thresholds of single classes are part of the words.
    """
    return (
        (f"@{threshold:.6g}" if threshold != THRESHOLD else "")
        + (f"+n{nms_iou:.6g}" if nms_iou != RunSettings.nms_iou else "")
        + (f"+m{max_boxes}" if max_boxes != RunSettings.max_boxes else "")
    )


def settings_of(engine: Engine, prompts: str, **settings: Any) -> RunSettings:
    """The settings of a run that begins now with this engine."""
    from datetime import UTC, datetime

    return RunSettings(
        engine.name, engine.fingerprint, prompts,
        created=datetime.now(UTC).isoformat(timespec="seconds"), versions=_versions(), **settings,
    )  # fmt: skip


def _versions() -> dict[str, str]:
    """Versions of what makes boxes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    packages = (
        "torch", "torchvision", "openvino", "timm", "transformers", "supervision", "pillow",
        "opencv-python",
    )  # fmt: skip
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - a vendored install
            found[name] = "unknown"
    from detclipv2 import __version__

    return {"detclipv2": __version__, **found}
