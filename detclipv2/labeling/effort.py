"""What pre-labels cost and save: the one cost model of the app and of evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Verdict = Literal["kept", "moved", "renamed", "deleted", "added"]
"""What became of a box: left as it was, dragged, given another label, deleted; or it was missing
and a labeler added it."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class CostModel:
    """Seconds that a labeler takes, a box. Only `draw` was measured, on other people's data.

    Attributes:
        draw: to draw and name a box from nothing: 7.0 s by clicking the four extreme points
            (Papadopoulos et al., Extreme clicking, ICCV 2017, Table 1).
        mend: to drag a box into place or rename it, beside `check`. An assumption: two corners,
            each pointed at and dragged, in about 1 s an act by the keystroke-level model (Card,
            Moran and Newell, CACM 1980).
        delete: to delete a box, beside `check`. An assumption: pointing at it, 1.1 s, and a key,
            0.3 s, by the same model.
        check: to look at a box and leave it. An assumption: half of the 1.6 s in which a box shown
            alone was judged (Papadopoulos et al., We don't need no bounding-boxes, CVPR 2016), as
            all boxes of a photo are seen together.
    """

    draw: float = 7.0
    mend: float = 4.0
    delete: float = 1.5
    check: float = 0.8

    def __str__(self) -> str:
        return (
            f"{self.draw:g} s to draw a box, {self.mend:g} s to mend, {self.delete:g} s to delete, "
            f"{self.check:g} s to check one"
        )


COST = CostModel()


@dataclass(frozen=True)
class Effort:
    """What pre-labels spared labelers, by verdicts on boxes.

    Attributes:
        kept: boxes left as they were.
        moved: boxes dragged or resized.
        renamed: boxes given another label.
        deleted: boxes that were removed.
        added: boxes that the model had missed.
        cost: what each takes.
    """

    kept: int = 0
    moved: int = 0
    renamed: int = 0
    deleted: int = 0
    added: int = 0
    cost: CostModel = field(default=COST)

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], cost: CostModel = COST) -> Effort:
        """Count verdicts."""
        counts = dict.fromkeys(VERDICTS, 0)
        for verdict in verdicts:
            counts[verdict] += 1
        return cls(**counts, cost=cost)

    def __add__(self, other: Effort) -> Effort:
        counts = {name: getattr(self, name) + getattr(other, name) for name in VERDICTS}
        return replace(self, **counts)

    @property
    def shown(self) -> int:
        """Boxes that were there before the labeler came."""
        return self.kept + self.moved + self.renamed + self.deleted

    @property
    def minutes_without(self) -> float:
        """Every box of the result drawn by hand."""
        result = self.kept + self.moved + self.renamed + self.added
        return result * self.cost.draw / 60

    @property
    def minutes_with(self) -> float:
        """What it took with the boxes there: checking all, mending some, drawing the missed."""
        return (
            self.shown * self.cost.check
            + (self.moved + self.renamed) * self.cost.mend
            + self.deleted * self.cost.delete
            + self.added * self.cost.draw
        ) / 60

    @property
    def minutes_saved(self) -> float:
        """May be negative: bad boxes cost more than they spare."""
        return self.minutes_without - self.minutes_with

    def sentence(self) -> str:
        """The estimate in words, with what it assumes."""
        saved = self.minutes_saved
        verb = "saved about" if saved >= 0 else "cost about"
        return (
            f"{self.kept} boxes kept, {self.moved} moved, {self.renamed} renamed, {self.deleted} "
            f"deleted, {self.added} added by hand: {verb} {abs(saved):.1f} minutes of "
            f"{self.minutes_without:.1f} (estimate: {self.cost})"
        )
