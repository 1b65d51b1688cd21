"""Learn a run's classes from its decisions, and give the photos that are left new boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.adaptation.adapt import AdaptSettings, adapt
from app.adaptation.learn import scores
from app.adaptation.prior import adapted_of, one_after_the_other, prior_weights
from app.adaptation.region_table import RegionTable, Standard
from app.adaptation.rescore import photo_regions, rescore
from app.adaptation.reviewed_photo import ReviewedPhoto
from app.adaptation.run_boxes import replace_boxes, restore_boxes, view_of_words
from app.adaptation.state import FILE, LearnedClasses, LearnedError
from app.adaptation.words import Words
from app.box import Box
from app.index.build import index_folder
from app.index.store import RegionIndex
from app.review.decision import PhotoReview
from app.review.decisions import Decisions
from app.runs.store import ADAPTED, Run
from detclipv2.inference.fingerprints import adapted_fingerprint
from detclipv2.inference.suppression import Suppression
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor

_STANDARD = 200
"""Photos that say what regions of the run are like, evenly spread."""
MOST_REVIEWED = 500
"""Reviewed photos that are learned from, the last ones of the ledger; 100 take about a second."""
_SEED = 0
WordsOf = Callable[[Vocabulary], tuple[Words, Collection[str], float]]
"""Gives a vocabulary's numbers, and the fingerprints and Soft-NMS sigma of the model."""


def words_by(load: Callable[[], Predictor]) -> WordsOf:
    """`WordsOf` by a model that is loaded when it is needed."""

    def words_of(vocabulary: Vocabulary) -> tuple[Words, Collection[str], float]:
        predictor = load()
        words = Words.of(predictor, vocabulary)
        return words, predictor.region_fingerprints, predictor.model.serving.soft_nms

    return words_of


@dataclass(frozen=True)
class LearnedRun:
    """What learning did to a run.

    Attributes:
        learned: its classes.
        rescored: photos with new boxes.
        unindexed: reviewed photos that the index lacks.
    """

    learned: LearnedClasses
    rescored: int
    unindexed: int


def learn_run(run: Run, words_of: WordsOf, settings: AdaptSettings | None = None) -> LearnedRun:
    """Learn from the run's decisions; photos that nobody decided about get new boxes.

    Args:
        run: an indexed one.
        words_of: of the run's model, see `words_by`.
        settings: how; None for the usual.

    Raises:
        LearnedError: no photo was reviewed, or the model is not the index's.
        RunIndexError: the run has no index, or a damaged one.
        RunError: another process works on the run.
    """
    index = RegionIndex(index_folder(run))
    vocabulary = view_of_words(run).vocabulary.without_thresholds()
    words, fingerprints, sigma = words_of(vocabulary)
    if index.header.checkpoint not in fingerprints:
        raise LearnedError(
            f"the index is of checkpoint {index.header.checkpoint[:8]}, not of this model: name "
            "the run's model, or index the run again"
        )
    with Decisions(run.folder) as decisions:
        reviews = decisions.reviews()
    place_of = dict(zip(index.images.tolist(), index.places.tolist(), strict=True))
    usable = [one for image, one in sorted(reviews.items()) if image in place_of]
    reviewed = [one for one in usable if one.state == "reviewed"]
    if not reviewed:
        raise LearnedError(
            "no photo is reviewed yet: mark one with `detclipv2 decide RUN PHOTO --reviewed`"
        )
    usable = usable[-MOST_REVIEWED:]
    rules = Suppression(run.settings.detection.nms_iou, sigma)
    settings = settings or AdaptSettings()
    view = run.view
    shown = replace(rules, one_name=view.one_name, whole_things=view.whole_things)
    settings = replace(settings, rules=shown)
    step = max(1, len(index.places) // _STANDARD)
    sample = [photo_regions(index, place) for place in index.places[::step].tolist()]
    standard = Standard.of(sample)
    photos = [photo_regions(index, place_of[one.image]) for one in usable]
    table = RegionTable.of(photos, standard, words)
    begun_with = adapted_of(run)
    prior = None
    if begun_with is not None:
        if adapted_fingerprint(index.header.checkpoint, begun_with) != run.settings.checkpoint:
            raise LearnedError(
                f"{run.folder / ADAPTED} is not what the run's boxes were made with; begin the run "
                "again"
            )
        prior = prior_weights(begun_with, vocabulary, words, standard)
        table = replace(table, words=scores(table, prior))
    defaults = np.array(view_of_words(run).thresholds)
    adapted = adapt(
        table,
        [reviewed_photo(one, words.names) for one in usable],
        words.names,
        defaults,
        settings,
        np.random.default_rng(_SEED),
    )
    if prior is not None:
        adapted = replace(adapted, weights=one_after_the_other(prior, adapted.weights))
    learned = LearnedClasses(
        index.header.checkpoint, vocabulary.hash, words, standard, adapted, len(reviewed)
    )
    learned.save(run.folder / FILE)
    found = rescore(index, learned, run.settings.lowest, rules)
    left = (one for one in found if one.image not in reviews)
    digest = hashlib.sha256((run.folder / FILE).read_bytes()).hexdigest()
    count = replace_boxes(run, left, with_thresholds(run, learned), digest)
    return LearnedRun(learned, count, len(reviews.keys() - place_of.keys()))


def reviewed_photo(review: PhotoReview, names: tuple[str, ...]) -> ReviewedPhoto:
    """A review as numbers; boxes of other classes than these are left out."""
    number = {name: k for k, name in enumerate(names)}
    return ReviewedPhoto(
        *_numbers(review.boxes, number),
        np.array([name in review.classes for name in names], bool),
        *_numbers(review.rejected, number),
    )


def _numbers(
    boxes: Sequence[Box], number: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(M, 4) corners and (M,) classes."""
    known = [box for box in boxes if box.name in number]
    corners = np.array([box.xyxy for box in known], float).reshape(-1, 4)
    return corners, np.array([number[box.name] for box in known], np.int64)


def with_thresholds(run: Run, learned: LearnedClasses) -> Vocabulary:
    """The run's vocabulary; classes that were changed have their own threshold."""
    own = {
        report.name: max(round(report.threshold, 3), run.settings.lowest)
        for report in learned.adapted.reports
        if report.basis != "words"
    }
    return Vocabulary(
        tuple(
            replace(concept, threshold=own[concept.name])
            if not concept.negative and concept.name in own
            else concept
            for concept in view_of_words(run).vocabulary.classes
        )
    )


def unlearn_run(run: Run) -> bool:
    """Put the words' boxes and thresholds back; False where nothing was learned.

    Raises:
        RunError: another process works on the run.
    """
    restored = restore_boxes(run)
    file = run.folder / FILE
    there = file.exists()
    file.unlink(missing_ok=True)
    return restored or there
