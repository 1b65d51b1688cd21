"""A table of all scores gives what the search above a threshold gives, at every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from detclipv2.inference import score_table
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.postprocess import Candidates, find_candidates, score_candidates, select
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.vocabulary import Vocabulary
from tests.inference.test_postprocess import SIZE, scene

CALIBRATION = Calibration(1.3, -0.2)
WORDS = Vocabulary.parse("!shadow\ncat: kitten\n!glare: shine, gleam\ndog @0.35\nbird")


def table_of(words: Vocabulary, anchors: int = 300, soft: float = 0.5) -> ScoreTable:
    boxes, logits, localisation = scene(3, anchors, len(words.texts))
    bare = words.without_thresholds()
    return ScoreTable.of_logits(boxes, logits, localisation, bare, SIZE, CALIBRATION, soft)


def searched(
    words: Vocabulary, threshold: float | Sequence[float], most: int = 1000, anchors: int = 300
) -> Candidates:
    boxes, logits, localisation = scene(3, anchors, len(words.texts))
    lowest = threshold if isinstance(threshold, float) else min(threshold)
    return find_candidates(
        boxes,
        logits,
        localisation,
        words,
        SIZE,
        floor=lowest,
        most=most,
        calibration=CALIBRATION,
        soft_nms=0.5,
    )


@pytest.mark.parametrize("at_hand", [20_000, 50])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_every_threshold_has_the_boxes_of_a_search(
    threshold: float, at_hand: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the best scores at hand are not enough."""
    monkeypatch.setattr(score_table, "_AT_HAND", at_hand)
    found = table_of(WORDS).candidates(threshold, 1000, WORDS)
    wanted = select(searched(WORDS, threshold), threshold=threshold)
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)
    got = table_of(WORDS).select(threshold=threshold, vocabulary=WORDS)
    np.testing.assert_array_equal(got.xyxy, wanted.xyxy)
    np.testing.assert_array_equal(got.confidence, wanted.confidence)
    np.testing.assert_array_equal(got.class_id, wanted.class_id)
    assert list(got.data["class_name"]) == list(wanted.data["class_name"])
    assert threshold in (0.6, 1.0) or len(got) > 5


@pytest.mark.parametrize("at_hand", [20_000, 300, 40])
def test_the_cap_keeps_the_best(at_hand: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "_AT_HAND", at_hand)
    many = Vocabulary.of([f"thing {i}" for i in range(40)])
    for threshold in (0.0, 0.2, 0.5):
        found = table_of(many).candidates(threshold, 150)
        wanted = searched(many, threshold, 150)
        assert torch.equal(found.scores, wanted.scores) and len(found.scores) == 150
        assert torch.equal(found.boxes, wanted.boxes)
        assert torch.equal(found.classes, wanted.classes)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table_of(WORDS)
    monkeypatch.setattr(score_table, "_CHUNK", 7)
    assert torch.equal(table_of(WORDS).scores, whole.scores)


def test_the_best_scores_are_those_of_the_classes_alone() -> None:
    best = table_of(WORDS).best
    found = searched(WORDS.without_thresholds(), 0.0)
    for index, score in enumerate(best):
        assert score == float(found.scores[found.classes == index].max())


def test_a_class_whose_boxes_a_negative_has_has_none() -> None:
    words = Vocabulary.parse("cat\n!shadow")
    boxes, logits, localisation = scene(1, 20, 2)
    logits[:, 1] = logits[:, 0] + 1
    table = ScoreTable.of_logits(boxes, logits, localisation, words, SIZE, CALIBRATION, 0.0)
    assert table.best == (None,) and len(table.select(threshold=0.0)) == 0


def test_a_picture_without_boxes() -> None:
    words = Vocabulary.of(["cat", "dog"])
    empty = ScoreTable.of_scores(torch.zeros(0, 4), torch.zeros(0, 2), words)
    assert empty.best == (None, None) and len(empty.select(threshold=0.0)) == 0


def test_other_detectors_have_the_same() -> None:
    boxes, logits, _ = scene(5, 200, len(WORDS.texts))
    boxes = boxes.clamp(min=0)
    table = ScoreTable.of_scores(boxes, logits.sigmoid(), WORDS)
    for threshold in (0.0, 0.4, 0.9):
        found = table.candidates(threshold, 1000)
        wanted = score_candidates(boxes, logits.sigmoid(), WORDS, floor=threshold)
        wanted = Candidates(
            *(
                t[wanted.scores >= thresholds(wanted, threshold)]
                for t in (wanted.boxes, wanted.scores, wanted.classes)
            ),
            WORDS,
            threshold,
        )
        assert torch.equal(found.scores, wanted.scores)
        assert torch.equal(found.boxes, wanted.boxes)
        assert torch.equal(found.classes, wanted.classes)


def thresholds(found: Candidates, threshold: float) -> torch.Tensor:
    own = found.vocabulary.thresholds
    return torch.tensor([own.get(int(c), threshold) for c in found.classes])
