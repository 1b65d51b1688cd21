"""Which reviewed tasks thresholds are learned from.

A score means what the model that gave it means by it, so those of other models teach nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from app.labelstudio.learn.pull import ReviewedTask
from app.runs.model_version import is_of_detclipv2


@dataclass(frozen=True)
class UsableReviews:
    """Reviewed tasks to learn from, and those that are left out."""

    tasks: tuple[ReviewedTask, ...]
    others: tuple[ReviewedTask, ...]

    def sentence(self) -> str:
        """Which versions were used, and which were not."""
        sentence = f"learned from {_versions(self.tasks)}"
        if self.others:
            sentence += f"; not from other models' scores: {_versions(self.others)}"
        return sentence


def usable_reviews(
    reviewed: Iterable[ReviewedTask], checkpoint: str | None = None
) -> UsableReviews:
    """Keep what began as a prediction of these weights.

    Args:
        reviewed: what `pull` gives.
        checkpoint: hex digest of the weights; None for those of any DetCLIPv2.
    """
    tasks: list[ReviewedTask] = []
    others: list[ReviewedTask] = []
    for task in reviewed:
        (tasks if is_of_detclipv2(task.model_version, checkpoint) else others).append(task)
    return UsableReviews(tuple(tasks), tuple(others))


def _versions(tasks: Iterable[ReviewedTask]) -> str:
    counts = Counter(task.model_version or "no version" for task in tasks)
    return ", ".join(f"{version} ({count})" for version, count in counts.items()) or "nothing"
