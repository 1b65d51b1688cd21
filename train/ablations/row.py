"""What a row of an ablation table is: the paper's figures, and a way from a base to its own run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from train.experiment import Experiment, epoch_steps

Change = Callable[[Experiment], Experiment]

STREAMS = {
    "O365": "detection",
    "GoldG": "grounding",
    "CC3M": "pairs",
    "CC15M": "pairs",
    "IN1k": "tags",
}
"""Which stream a data set of the paper is."""


@dataclass(frozen=True)
class Paper:
    """What the paper prints of a row; None where it prints nothing.

    Attributes:
        ap: fixed AP in percent.
        parts: APr, APc, APf.
        memory: GB a device.
        hours: V100-hours of the training.
        fps: photos a second and device in training.
        seconds: of a step of detection or grounding.
    """

    ap: float | None = None
    parts: tuple[float, float, float] | None = None
    memory: float | None = None
    hours: float | None = None
    fps: float | None = None
    seconds: float | None = None

    def cost(self) -> str:
        """All but the AP, in words."""
        said = (
            (self.memory, "{:g} GB"),
            (self.hours, "{:g} GPU-h"),
            (self.fps, "{:g} FPS"),
            (self.seconds, "{:g} s a step"),
        )
        return ", ".join(form.format(value) for value, form in said if value is not None)


def same(base: Experiment) -> Experiment:
    """No change."""
    return base


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: table, slash, row.
        paper: its figures.
        against: name of the row it is compared with; empty for none.
        data: the paper's data sets; none for those of the base, whatever they are.
        change: what else is done to the base; None in rows of other methods, which are quoted.
        large: is it the L model?
    """

    name: str
    paper: Paper = Paper()
    against: str = ""
    data: tuple[str, ...] = ()
    change: Change | None = same
    large: bool = False

    @property
    def table(self) -> str:
        """The table's number."""
        return self.name.partition("/")[0]

    @property
    def label(self) -> str:
        """The name without the table."""
        return self.name.partition("/")[2]

    def experiment(self, base: Experiment) -> Experiment:
        """The row's experiment.

        Args:
            base: with all streams that `data` wants, of T or L as the row is.

        Raises:
            ValueError: the row is of another method, or `base` lacks a stream.
        """
        if self.change is None:
            raise ValueError(f"{self.name} is another method's; its figures are quoted only")
        if self.data:
            base = keep_streams(base, [STREAMS[name] for name in self.data])
        return self.change(base)


def keep_streams(base: Experiment, names: Sequence[str]) -> Experiment:
    """Only the streams of these names, each with as many steps as before, where `volume` says.

    Raises:
        ValueError: there is no such stream.
    """
    kept = tuple(stream for stream in base.streams if stream.name in names)
    if missing := set(names) - {stream.name for stream in kept}:
        known = ", ".join(stream.name for stream in base.streams)
        raise ValueError(f"no stream {', '.join(sorted(missing))}; the base has {known}")
    whole, part = epoch_steps(base.streams), epoch_steps(kept)
    steps = base.loop.steps
    if whole and part:
        steps = max(1, round(steps * part / whole))
    return replace(base, streams=kept, loop=replace(base.loop, steps=steps))
