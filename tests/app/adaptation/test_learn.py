"""Learning a class: from the words on, as plain scipy would, without its own photos."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from app.adaptation.adapt import AdaptSettings, adapt
from app.adaptation.learn import LearnSettings, fit, learn, scores
from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import UNKNOWN, ReviewedPhoto, targets
from app.adaptation.shown_boxes import ShownBoxes, average_precision, matches, shown_boxes
from app.adaptation.thresholds import GRID, Judged
from detclipv2.inference.suppression import Suppression
from tests.app.adaptation.synthetic import table

NAMES = ("thing 0", "thing 1")
DEFAULTS = np.full(2, 0.5)


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_without_weights_a_class_scores_as_its_words() -> None:
    rows, _ = table(3)
    np.testing.assert_array_equal(
        scores(rows, np.zeros((2, rows.numbers.shape[1] + 2))), rows.words
    )


def test_targets_are_positive_negative_or_unknown() -> None:
    sides = [[10, 10], [10, 7.5], [10, 5]]
    boxes = np.array([*([0, 0, *side] for side in sides), [50, 50, 60, 60]], np.float32)
    zeros = np.zeros((4, 2), np.float32)
    rows = RegionTable(np.zeros(4, np.int64), boxes, zeros, zeros)
    whole = np.array([True, False])
    one, two = np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 10.0]] * 2)
    photo = ReviewedPhoto(two, np.array([0, 1]), whole)
    unknown, half = UNKNOWN, pytest.approx(0.5)
    assert targets(rows, [photo]).tolist() == [
        [1, 1],
        [half, half],
        [unknown, unknown],
        [0, unknown],
    ]
    none = np.zeros((0, 4)), np.zeros(0, np.int64)
    assert targets(rows, [ReviewedPhoto(*none, whole)]).tolist() == [[0, unknown]] * 4
    wrong = ReviewedPhoto(*none, np.zeros(2, bool), one, np.array([1]))
    assert targets(rows, [wrong])[:, 1].tolist() == [0, 0, unknown, unknown]
    assert (targets(rows, [wrong])[:, 0] == unknown).all()
    both = ReviewedPhoto(one, np.array([1]), np.zeros(2, bool), one, np.array([1]))
    assert targets(rows, [both])[0, 1] == 1, "a thing that is there is not rejected with its copy"


def test_the_fit_is_plain_scipys() -> None:
    rows, truth = table(30)
    target = targets(rows, truth)[:, 0]
    width = rows.numbers.shape[1] + 2
    design = np.hstack([rows.numbers, rows.words[:, :1], np.ones((len(target), 1))])
    design = (design * LearnSettings(embedding=5.0).scales(width)).astype(np.float32)
    known = target >= 0
    design, y = design[known], target[known]
    offset, ones = rows.words[known, 0], np.ones(known.sum(), np.float32)
    fold = np.arange(len(y)) % 5
    found, without = fit(design, offset, y, ones, fold, 5)

    def plain(which: np.ndarray) -> np.ndarray:
        def objective(u: np.ndarray) -> float:
            z = offset[which].astype(float) + design[which].astype(float) @ u
            return float((np.logaddexp(0, z) - y[which] * z).sum() + 0.5 * u @ u)

        start = np.zeros(width)
        return np.asarray(minimize(objective, start, method="BFGS", options={"gtol": 1e-5}).x)

    np.testing.assert_allclose(design @ found, design @ plain(fold >= 0), atol=0.02)
    np.testing.assert_allclose(design @ without[2], design @ plain(fold != 2), atol=0.05)


def test_some_negatives_stand_for_all() -> None:
    rows, truth = table(60)
    target = targets(rows, truth)
    every = learn(rows, target, LearnSettings(negatives=10**6), random()).held_out
    some = learn(rows, target, LearnSettings(negatives=1000), random()).held_out
    positive = target > 0.5
    for k in range(2):
        exact, quick = (
            average_precision(z[:, k], positive[:, k], int(positive[:, k].sum()))
            for z in (every, some)
        )
        assert quick == pytest.approx(exact, abs=0.03)


def test_held_out_scores_know_nothing_of_their_photo() -> None:
    """A photo's labels are swapped: only what other folds say of it may stay."""
    rows, truth = table(20)
    settings = LearnSettings(threads=1, negatives=10**6)
    before = learn(rows, targets(rows, truth), settings, random())
    truth[3] = replace(truth[3], classes=1 - truth[3].classes)
    after = learn(rows, targets(rows, truth), settings, random())
    mine = rows.photo == 3
    np.testing.assert_allclose(after.held_out[mine], before.held_out[mine], atol=0.06)
    assert np.abs(after.held_out - before.held_out)[~mine].max() > 0.3


def test_classes_without_a_good_word_are_learned_from_boxes_alone() -> None:
    rows, truth = table(30)
    found = adapt(rows, truth, NAMES, DEFAULTS, AdaptSettings(), random())
    new, new_truth = table(40, seed=1)
    lowest = np.full(2, 0.05)
    rules = Suppression(0.6)
    before, after = (
        Judged.of(shown_boxes(new, logits, lowest, rules), new_truth)
        for logits in (new.words, scores(new, found.weights))
    )
    assert {report.basis for report in found.reports} == {"reviewed boxes"}
    assert (after.precisions > 0.8).all()
    assert (after.precisions > 2 * before.precisions).all()
    gain = after.spared_at(found.thresholds) - before.spared_at(DEFAULTS)
    assert (gain.sum(axis=0) > 60).all()
    for report in found.reports:
        assert 0 < report.right <= report.shown


def test_where_boxes_say_nothing_the_words_stay() -> None:
    """Boxes of things that no number tells: chance must not change a class."""
    rows, truth = table(30)
    for seed in range(3):
        generator = np.random.default_rng(seed)
        numbers = generator.normal(size=rows.numbers.shape).astype(np.float32)
        words = generator.normal(size=rows.words.shape).astype(np.float32) - 4
        noise = replace(rows, numbers=numbers, words=words)
        found = adapt(noise, truth, NAMES, DEFAULTS, AdaptSettings(), random())
        rest, rest_truth = table(60, seed=7)
        numbers = generator.normal(size=rest.numbers.shape).astype(np.float32)
        words = generator.normal(size=rest.words.shape).astype(np.float32) - 4
        rest = replace(rest, numbers=numbers, words=words)
        spared = Judged.of(
            shown_boxes(rest, scores(rest, found.weights), np.full(2, 0.05), Suppression(0.6)),
            rest_truth,
        ).spared_at(found.thresholds)
        assert spared.sum() >= -60, "a second a photo at most"


def test_classes_that_nobody_reviewed_stay() -> None:
    rows, truth = table(20)
    one = [
        ReviewedPhoto(t.boxes[t.classes == 0], t.classes[t.classes == 0], np.array([True, False]))
        for t in truth
    ]
    found = adapt(rows, one, NAMES, DEFAULTS, AdaptSettings(), random())
    assert [report.basis for report in found.reports] == ["reviewed boxes", "words"]
    assert not found.weights[1].any()
    assert found.thresholds[1] == DEFAULTS[1]


def test_a_hundred_photos_and_twenty_classes_take_about_a_second() -> None:
    generator = np.random.default_rng(0)
    count, classes = 100 * 512, 20
    numbers = generator.normal(size=(count, 132)).astype(np.float32)
    words = generator.normal(size=(count, classes)).astype(np.float32) - 6
    photo = np.repeat(np.arange(100), 512)
    target = np.zeros((count, classes), np.float32)
    for k in range(classes):
        target[generator.choice(count, 200, replace=False), k] = 1
        numbers[target[:, k] == 1, k] += 2
    rows = RegionTable(photo, np.zeros((count, 4), np.float32), numbers, words)
    start = time.process_time()
    learn(rows, target, LearnSettings(), random())
    # Twice the time that two free cores have in a second, as others work here, too.
    assert time.process_time() - start < 4


def test_a_wrong_name_is_mended_unless_a_box_of_the_class_is_there() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [50, 0, 60, 10], [50, 0, 60, 6]], np.float32)
    shown = ShownBoxes(
        np.zeros(4, np.int64), boxes, np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 1])
    )
    truth = ReviewedPhoto(boxes[[0, 2]].astype(float), np.array([0, 0]), np.ones(2, bool))
    found = matches(shown, [truth])
    assert found.overlap.tolist() == [0, pytest.approx(0.8), 0, 0]
    assert found.misnamed.tolist() == [False, False, True, False]
    assert found.seconds_spared().tolist() == pytest.approx([-2.3, 6.2, 2.2, -2.3])
    judged = Judged.of(shown, [truth])
    assert judged.spared_at(np.array([0.5, 0.65])).tolist() == [
        [pytest.approx(6.2), pytest.approx(-0.1)]
    ]
    at = np.searchsorted(GRID, [0.55, 0.65, 0.75])
    assert judged.spared()[0, 1, at].tolist() == pytest.approx([-2.4, -0.1, -2.3])


def test_average_precision_is_cocos() -> None:
    right = np.array([True, False, True])
    assert average_precision(np.array([0.9, 0.8, 0.7]), right, 2) == pytest.approx(
        (51 + 50 * 2 / 3) / 101
    )
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
    assert np.isnan(average_precision(np.zeros(0), np.zeros(0, bool), 0))
