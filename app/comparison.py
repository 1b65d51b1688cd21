"""Two ways of looking at the same photos: boxes gained, lost, relabelled, scores moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from app.box import Box
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.images import ImageError, open_image
from detclipv2.inference.postprocess import candidates_for, select
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, DetectSettings

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from detclipv2.detectors.protocol import Detector

Kind = Literal["gained", "lost", "relabelled", "moved", "same"]
KINDS: tuple[Kind, ...] = ("gained", "lost", "relabelled", "moved", "same")

SAME_BOX = 0.5
"""IoU from which on two boxes count as the same thing."""
MOVED = 0.05
"""A score that changes by less is the same."""


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        detector: what looks.
        vocabulary: the words.
        template: the sentence round them; None for the detector's own.
        settings: what the detector is asked for. Detectors of transformers have a size of their
            own, always.
    """

    detector: Detector[Any]
    vocabulary: Vocabulary
    template: str | None = None
    settings: DetectSettings = DEFAULTS

    def __post_init__(self) -> None:
        if self.template is None:
            return
        if not isinstance(self.detector, Predictor):
            raise DetectorError(f"{self.detector.name} has no template of its own; leave it empty")
        if "{}" not in self.template:
            raise DetectorError(f"the template {self.template!r} has no {{}} for the words")

    def encode(self, image: Image.Image) -> Any:
        """The photo as the detector has it."""
        size, tiles, looks = self.settings.encoding
        if not isinstance(self.detector, Predictor):
            size = None
        return self.detector.encode_image(image, size, tiles, looks)


@dataclass(frozen=True)
class Change:
    """A box of either side, xyxy in the photo's pixels, and what it is on each; None: not there."""

    kind: Kind
    box: tuple[float, float, float, float]
    before: tuple[str, float] | None
    after: tuple[str, float] | None

    @property
    def move(self) -> float | None:
        """By how much the score moved, where both sides have the box."""
        return self.after[1] - self.before[1] if self.before and self.after else None


@dataclass(frozen=True)
class Comparison:
    """One photo: its changes, or why it could not be read."""

    path: Path
    changes: tuple[Change, ...]
    error: str = ""

    def counts(self) -> dict[Kind, int]:
        """How many changes of each kind."""
        return {kind: sum(c.kind == kind for c in self.changes) for kind in KINDS}


def compare(paths: Iterable[Path], before: Side, after: Side) -> Iterator[Comparison]:
    """Look at each photo with both sides; the image tower of a detector runs once a photo."""
    for path in paths:
        try:
            image = open_image(path, name=path.name)
        except ImageError as error:
            yield Comparison(path, (), str(error))
            continue
        encoded = before.encode(image)
        same = after.detector is before.detector and (
            after.settings.encoding == before.settings.encoding
        )
        encoded_after = encoded if same else after.encode(image)
        yield Comparison(
            path, tuple(changes(_boxes(before, encoded), _boxes(after, encoded_after)))
        )


def changes(before: sv.Detections, after: sv.Detections) -> list[Change]:
    """Pair the boxes of two sides; each box takes part in one change.

    Boxes of the same class pair first, then any: a box that two sides name differently is
    relabelled only if neither has its own partner. Pairs are taken by falling IoU from `SAME_BOX`.
    """
    import supervision as sv

    old, new = _named(before), _named(after)
    pairs: dict[int, int] = {}
    if len(before) and len(after):
        iou = sv.box_iou_batch(before.xyxy, after.xyxy)
        order = np.dstack(np.unravel_index((-iou).argsort(axis=None, kind="stable"), iou.shape))[0]
        for same_class in (True, False):
            for i, j in order.tolist():
                if iou[i, j] < SAME_BOX:
                    break
                free = i not in pairs and j not in pairs.values()
                if free and (_key(old[i]) == _key(new[j]) or not same_class):
                    pairs[i] = j
    found = []
    for i, entry in enumerate(old):
        box = _corners(before, i)
        if i not in pairs:
            found.append(Change("lost", box, entry, None))
            continue
        other = new[pairs[i]]
        kind: Kind = "same" if abs(other[1] - entry[1]) < MOVED else "moved"
        if _key(entry) != _key(other):
            kind = "relabelled"
        found.append(Change(kind, _corners(after, pairs[i]), entry, other))
    taken = set(pairs.values())
    found += [
        Change("gained", _corners(after, j), None, entry)
        for j, entry in enumerate(new)
        if j not in taken
    ]
    return sorted(found, key=lambda c: (KINDS.index(c.kind), -_strength(c)))


def total(comparisons: Sequence[Comparison]) -> dict[Kind, int]:
    """Counts over all photos."""
    return {kind: sum(c.counts()[kind] for c in comparisons) for kind in KINDS}


def _boxes(side: Side, encoded: Any) -> sv.Detections:
    own: dict[str, Any] = {} if side.template is None else {"template": side.template}
    most = candidates_for(side.settings.max_boxes)
    found = side.detector.candidates(
        encoded, side.vocabulary, floor=side.settings.threshold, most=most, **own
    )
    return select(found, side.settings)


def _named(detections: sv.Detections) -> list[tuple[str, float]]:
    return [(box.name, box.score) for box in Box.from_detections(detections)]


def _corners(detections: sv.Detections, index: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(v), 1) for v in detections.xyxy[index])
    return (x1, y1, x2, y2)


def _key(entry: tuple[str, float]) -> str:
    return " ".join(entry[0].casefold().split())


def _strength(change: Change) -> float:
    if change.kind in ("moved", "same"):
        return abs(change.move or 0.0)
    return max(entry[1] for entry in (change.before, change.after) if entry)
