"""What was left out of a data set, counted by reason: never fatal, never silent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

EXAMPLES = 5
"""Names kept of each reason."""


class Dropped:
    """A report that grows while a set is read or packed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, reason: str, name: str) -> None:
        """Count one; `name` says which, and is kept for the first few of a reason."""
        self.counts[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(name)

    def merge(self, summary: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what another report's `summary` says."""
        for reason, part in summary.items():
            self.counts[reason] += part["count"]
            shown = self.examples.setdefault(reason, [])
            shown += part["examples"][: EXAMPLES - len(shown)]

    def summary(self) -> dict[str, dict[str, Any]]:
        """As JSON values: reason → `count` and `examples`, most frequent first."""
        return {
            reason: {"count": count, "examples": self.examples[reason]}
            for reason, count in self.counts.most_common()
        }

    def log(self, source: object) -> None:
        """Warn once a reason, if anything was left out of `source`."""
        for reason, part in self.summary().items():
            names = "; ".join(part["examples"])
            logger.warning("%s: left out %d × %s: %s", source, part["count"], reason, names)


@contextmanager
def reporting(dropped: Dropped | None, source: Path) -> Iterator[Dropped]:
    """The caller's report, or where there is none a new one that is logged at the end."""
    report = Dropped() if dropped is None else dropped
    yield report
    if dropped is None:
        report.log(source)
