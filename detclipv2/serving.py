"""How a checkpoint is used, and what a caller may choose: the one home of these defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from detclipv2.config import ModelConfig, Ranking

Looks = Literal["fast", "thorough"]
"""One pass of the image tower over the whole photo, or all passes that the checkpoint takes."""
MAX_TILES = 8


@dataclass(frozen=True)
class ServingConfig:
    """How a checkpoint is meant to be used; the network itself does not read it.

    Pixels are letterboxed to `size`. The paper looks at a photo once; further looks belong to
    `DetectSettings.looks` "thorough".

    Attributes:
        size: long side of the network's input, a multiple of 32.
        least: smaller photos are not enlarged beyond this long side; 0 for always `size`. It would
            cost time and show nothing new.
        short: the short side is brought to this many pixels as far as the long side stays within
            `size` (the paper's 1333×800); 0 for none.
        half: share that another look, at half the size, has in what is said of large things, see
            `multi_scale.average`; 0 for none.
        second: long side of another look that only small things are taken from, see
            `multi_scale.merge`; 0 for none.
        ranking: what multiplies the similarity in a detection's score.
        score_scale: with `score_bias` what makes scores of checkpoints mean the same, see
            `inference.calibration`.
        score_bias: see `score_scale`.
        list_threshold: lowest score that pays in a list of classes most of which are absent, chosen
            by the minutes that pre-labels save (`train.evaluate --protocol minutes`).
        soft_nms: how much of its score a box keeps beside a better one of its class, see
            `geometry.nms.soften`; 0 for the paper's plain suppression.
    """

    size: int = 320
    least: int = 0
    short: int = 0
    half: float = 0.0
    second: int = 0
    ranking: Ranking = "centerness"
    score_scale: float = 1.0
    score_bias: float = 0.0
    list_threshold: float = 0.3
    soft_nms: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise ValueError(f"serving.size must be a positive multiple of 32, got {self.size}")
        if self.least % 32 or not 0 <= self.least <= self.size:
            raise ValueError(f"serving.least must be a multiple of 32 up to size, got {self.least}")
        if not 0 <= self.short <= self.size or (self.short and self.least):
            raise ValueError(
                f"serving.short must lie in 0..size and excludes serving.least, got {self.short}"
            )
        if not 0 <= self.half < 1:
            raise ValueError(f"serving.half is a share from 0 to below 1, got {self.half}")
        if self.half and (self.size % 64 or self.least % 64 or self.short):
            raise ValueError(
                "serving.half needs size and least in multiples of 64 and no short, got "
                f"{self.size}, {self.least} and {self.short}"
            )
        if self.second and (self.second % 32 or self.second <= self.size):
            raise ValueError(
                f"serving.second must be a multiple of 32 above size, or 0, got {self.second}"
            )
        if self.ranking not in get_args(Ranking):
            raise ValueError(
                f"serving.ranking must be one of {get_args(Ranking)}, got {self.ranking!r}"
            )
        if self.score_scale <= 0:
            raise ValueError(f"serving.score_scale must be positive, got {self.score_scale}")
        check_share("list_threshold", self.list_threshold)
        if self.soft_nms < 0:
            raise ValueError(f"serving.soft_nms must not be negative, got {self.soft_nms}")

    def check(self, config: ModelConfig) -> None:
        """Refuse a way of use that the network cannot follow.

        Raises:
            ValueError: names both fields.
        """
        if self.ranking != "centerness" and not config.quality:
            raise ValueError(f"serving.ranking {self.ranking!r} needs model.quality=True")
        if self.half and config.similarity != "dot":
            raise ValueError("serving.half needs similarity 'dot': it takes means of embeddings")

    def long_side(self, width: int, height: int) -> int:
        """Long side of the network's input for a photo of this many pixels."""
        if self.short:
            long = self.short * max(width, height) / min(width, height)
            return min(self.size, max(32, round(long / 32) * 32))
        if not self.least:
            return self.size
        step = 64 if self.half else 32
        native = -(-max(width, height) // step) * step
        return min(self.size, max(self.least, native))

    @property
    def sides(self) -> tuple[int, ...]:
        """Long sides of all looks at a large photo, the first one's first."""
        further = (self.size // 2 if self.half else 0, self.second)
        return (self.size, *(side for side in further if side))

    @property
    def list_defaults(self) -> DetectSettings:
        """What pre-labeling with a list of classes asks for, where nobody says otherwise.

        One name a place and whole things only; in captions' phrases both would lose words.
        """
        return DetectSettings(threshold=self.list_threshold, one_name=True, whole_things=True)

    def sides_for(self, settings: DetectSettings) -> tuple[int, ...]:
        """Long sides of the looks at a large photo that a caller has chosen, without tiles."""
        if settings.size is not None:
            return (settings.size,)
        return self.sides if settings.looks == "thorough" else (self.size,)


@dataclass(frozen=True)
class DetectSettings:
    """What a caller chooses for a detection; the one home of its defaults and ranges.

    Attributes:
        threshold: lowest score of classes without a threshold of their own, in 0..1.
        nms_iou: of two boxes of one class that overlap by more, in 0..1, the worse is removed.
        max_boxes: at most this many boxes a photo, the best ones.
        size: long side of the network's input, a multiple of 32, for one look; None for the
            checkpoint's own.
        tiles: above 1 this many tiles along the long side are looked at, too, for small things.
        looks: "thorough" for all looks of the checkpoint, "fast" for one; with `size` there is one.
        one_name: of boxes of different classes at one place only the best stays, see `Suppression`.
        whole_things: parts of a better box of their class are removed, and boxes round it.
    """

    threshold: float = 0.3
    nms_iou: float = 0.6
    max_boxes: int = 100
    size: int | None = None
    tiles: int = 1
    looks: Looks = "thorough"
    one_name: bool = False
    whole_things: bool = False

    def __post_init__(self) -> None:
        check_share("threshold", self.threshold)
        check_share("nms_iou", self.nms_iou)
        if self.max_boxes < 1:
            raise ValueError(f"max_boxes must be at least 1, got {self.max_boxes!r}")
        if self.size is not None and (self.size < 32 or self.size % 32):
            near = max(32, round(self.size / 32) * 32)
            raise ValueError(
                f"size must be a positive multiple of 32, got {self.size!r}; try {near}"
            )
        whole = isinstance(self.tiles, int) and not isinstance(self.tiles, bool)
        if not whole or not 1 <= self.tiles <= MAX_TILES:
            raise ValueError(f"tiles must lie in 1..{MAX_TILES}, got {self.tiles!r}; try 2")
        if self.looks not in get_args(Looks):
            raise ValueError(f"looks must be one of {get_args(Looks)}, got {self.looks!r}")
        for name in ("one_name", "whole_things"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")

    @property
    def encoding(self) -> tuple[int | None, int, Looks]:
        """What the image tower is asked for: `size`, `tiles` and `looks`.

        Photos that are encoded alike differ in nothing else.
        """
        return self.size, self.tiles, self.looks


def check_share(name: str, value: float) -> None:
    """Refuse a score or an overlap out of range.

    Raises:
        ValueError: names the setting.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in 0..1, got {value!r}")


class DetectChanges(TypedDict, total=False):
    """Fields of `DetectSettings` as keywords."""

    threshold: float
    nms_iou: float
    max_boxes: int
    size: int | None
    tiles: int
    looks: Looks
    one_name: bool
    whole_things: bool


DEFAULTS = DetectSettings()
FLOOR = 0.05
"""Lowest score that is kept for thresholds that move, unless a threshold lies lower."""

SERVING: dict[str, ServingConfig] = {
    "tiny": ServingConfig(size=64),
    "nano": ServingConfig(size=448, least=448),
    "swin_t": ServingConfig(size=1344, short=800),
    "swin_l": ServingConfig(size=1344, short=800),
}
"""How models of the presets are used, by name."""
