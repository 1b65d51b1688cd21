"""What a browse run holds: data set, photos and their aligned phrases, filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.box import Corners
from detclipv2.datasets.captions import Captioned

Order = Literal["worst", "best", "data set"]
ORDERS: dict[Order, str] = {
    "worst": "evidence ASC, id",
    "best": "evidence DESC, id",
    "data set": "id",
}


@dataclass(frozen=True)
class About:
    """What a run is of: the data set, the model that aligns it, and what was left out of it."""

    source: str
    model: str
    checkpoint: str
    left_out: dict[str, int]


@dataclass(frozen=True)
class Filter:
    """Which photos are shown.

    Attributes:
        phrase: words that one of the phrases holds; empty for any.
        most: mean evidence of the photo at most; None for any.
        least: evidence below which a phrase counts as without a region.
        missing: only photos with such a phrase (of those that match `phrase`).
    """

    phrase: str = ""
    most: float | None = None
    least: float = 0.0
    missing: bool = False


@dataclass(frozen=True)
class AlignedPhrase:
    """A phrase of a caption, its evidence, and its best box, xyxy in the photo's pixels."""

    text: str
    span: tuple[int, int] | None
    evidence: float
    match: float
    box: Corners


@dataclass(frozen=True)
class AlignedPhoto:
    """A photo of a run; size in pixels of the upright original."""

    id: int
    photo: Captioned
    size: tuple[int, int]
    similarity: float
    evidence: float
    phrases: tuple[AlignedPhrase, ...]


@dataclass(frozen=True)
class Counts:
    """How many photos wait, are done, have no phrase, and could not be read."""

    pending: int
    done: int
    empty: int
    failed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.done + self.empty + self.failed
