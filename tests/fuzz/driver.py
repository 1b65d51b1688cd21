"""Feeds odd inputs to the readers of outside data, and counts what becomes of them."""

from __future__ import annotations

import faulthandler
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SECONDS = 3.0
"""CPU time that one input may take. A busy machine does not count, and what is refused for its size
takes milliseconds."""
HANGS = 120
"""Seconds of one input after which the process is ended, with all stacks."""


@dataclass(frozen=True)
class Surface:
    """A reader of outside data.

    Attributes:
        name: what is read.
        inputs: endless odd inputs, from a source of chance.
        feed: reads one.
        refusals: errors by which it says what is wrong with the input.
    """

    name: str
    inputs: Callable[[random.Random], Iterator[Any]]
    feed: Callable[[Any], object]
    refusals: tuple[type[Exception], ...]


@dataclass
class Tally:
    """What became of the inputs of a surface; `problems` has the first few crashes in full."""

    accepted: int = 0
    refused: int = 0
    crashed: int = 0
    over_time: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them; one that was over time counts once more as what it gave."""
        return self.accepted + self.refused + self.crashed

    def __str__(self) -> str:
        return (
            f"{self.total} inputs: {self.accepted} accepted, {self.refused} refused, "
            f"{self.crashed} crashed, {self.over_time} over time"
        )


def drive(surface: Surface, seed: int, count: int) -> Tally:
    """Feed `count` inputs, the same for the same seed."""
    tally = Tally()
    with suppress(Exception):  # what is loaded at first use is no input's time
        surface.feed(next(surface.inputs(random.Random(f"{surface.name} {seed}"))))
    chance = random.Random(f"{surface.name} {seed}")
    for number, given in zip(range(count), surface.inputs(chance), strict=False):
        faulthandler.dump_traceback_later(HANGS, exit=True)
        start = time.process_time()
        try:
            surface.feed(given)
            tally.accepted += 1
        except surface.refusals as error:
            tally.refused += 1
            if not str(error).strip():
                tally.crashed += 1
                tally.problems.append(f"input {number} was refused without a word: {given!r:.300}")
        except Exception:
            tally.crashed += 1
            tally.problems.append(f"input {number}: {given!r:.300}\n{traceback.format_exc()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
        taken = time.process_time() - start
        if taken > SECONDS:
            tally.over_time += 1
            tally.problems.append(f"input {number} took {taken:.1f} s: {given!r:.300}")
    return tally
