"""From reviewed tasks to proposed thresholds, and these into a run; no model runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.labelstudio.api.config_map import labels_of_project
from app.labelstudio.api.connection import Connection
from app.labelstudio.learn.calibrate import Curve, Proposal, curves, propose, with_thresholds
from app.labelstudio.learn.pull import ReviewedTask
from app.labelstudio.learn.usable_reviews import UsableReviews, usable_reviews
from app.runs.records import Counts
from app.runs.store import Run
from detclipv2.language.vocabulary import Vocabulary


@dataclass(frozen=True)
class Proposals:
    """Thresholds from reviewed tasks.

    Attributes:
        reviews: which tasks were used.
        curves: precision and recall, by label.
        proposals: one a label, in the same order.
    """

    reviews: UsableReviews
    curves: dict[str, Curve]
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True)
class Applied:
    """What proposals changed in a run.

    Attributes:
        before: boxes that counted before.
        after: and after.
        counts: images by state.
        vocabulary: with the thresholds.
    """

    before: int
    after: int
    counts: Counts
    vocabulary: Vocabulary


def proposals_of(
    tasks: Iterable[ReviewedTask], precision: float = 0.8, checkpoint: str | None = None
) -> Proposals:
    """The proposals of all labels.

    Args:
        tasks: what `pull` gives.
        precision: see `propose`.
        checkpoint: see `usable_reviews`.
    """
    reviews = usable_reviews(tasks, checkpoint)
    found = curves(reviews.tasks)
    return Proposals(reviews, found, tuple(propose(one, precision) for one in found.values()))


def apply_to_run(
    run: Run, proposals: Iterable[Proposal], connection: Connection, project: int
) -> Applied:
    """Set proposed thresholds in a run, by the labels that the project has for its classes.

    Raises:
        LabelStudioError: the project cannot be asked.
        RunError: a threshold is below what the run stored.
    """
    before = sum(run.class_counts().values())
    labels = labels_of_project(connection, project, run.view.vocabulary)
    vocabulary = with_thresholds(run.view.vocabulary, proposals, labels)
    counts = run.apply(vocabulary.serialise())
    return Applied(before, sum(run.class_counts().values()), counts, vocabulary)
