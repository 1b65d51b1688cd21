from __future__ import annotations

import numpy as np
import pytest

from detclipv2.language.concepts import load_concepts
from train.data.transforms import View
from train.tasks.box_targets import build_targets, gather_concepts


def _view(names: list[list[str]], mentioned: tuple[str, ...] = (), exhaustive: bool = True) -> View:
    concepts = tuple(dict.fromkeys([n for own in names for n in own] + list(mentioned)))
    boxes = np.array([[0, 0, 10, 10]] * len(names), np.float32).reshape(-1, 4)
    labels = np.array([[c in own for c in concepts] for own in names], bool)
    labels = labels.reshape(len(names), len(concepts))
    return View(np.zeros((0, 0, 3), np.uint8), boxes, concepts, labels, exhaustive)


def _states(
    views: list[View], negatives: tuple[str, ...] = ()
) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Of the first view: the state of each concept at each box, and outside."""
    concepts = gather_concepts(views, negatives)
    target = build_targets(views, concepts, load_concepts())[0]
    at_boxes = [
        {
            c: "right" if p else "unsaid" if u else "wrong"
            for c, p, u in zip(concepts, positive, unsaid, strict=True)
        }
        for positive, unsaid in zip(target.positive.tolist(), target.unsaid.tolist(), strict=True)
    ]
    outside = {
        c: "unsaid" if u else "wrong"
        for c, u in zip(concepts, target.unsaid_outside.tolist(), strict=True)
    }
    return at_boxes, outside


def test_concepts_are_gathered_once_each_and_negatives_come_last() -> None:
    views = [_view([["dog"], ["man"]]), _view([["man", "person"]])]
    assert gather_concepts(views, ["boat", "dog"]) == ("dog", "man", "person", "boat")


def test_what_may_mean_the_same_is_never_a_negative() -> None:
    views = [
        _view([["brown dog", "dog"], ["red car"]]),
        _view([["puppy"], ["animal"], ["vehicle"], ["black cat"], ["dogs"]]),
    ]
    (dog, car), outside = _states(views, ("boat",))
    assert dog["brown dog"] == dog["dog"] == "right"
    assert dog["puppy"] == dog["animal"] == dog["dogs"] == "unsaid"
    assert dog["black cat"] == dog["red car"] == dog["vehicle"] == dog["boat"] == "wrong"
    assert car["vehicle"] == "unsaid" and car["animal"] == car["dog"] == "wrong"
    assert outside["puppy"] == outside["animal"] == outside["vehicle"] == "unsaid"
    assert outside["black cat"] == outside["boat"] == "wrong"


def test_a_photos_own_boxed_names_are_wrong_where_they_have_no_box() -> None:
    (dog, man), outside = _states([_view([["dog"], ["man"]])])
    assert man["dog"] == dog["man"] == "wrong"
    assert outside == {"dog": "wrong", "man": "wrong"}


def test_a_name_without_a_box_says_nothing_outside() -> None:
    _, outside = _states([_view([["dog"]], mentioned=("lake",))])
    assert outside["lake"] == "unsaid" and outside["dog"] == "wrong"


def test_a_sparse_set_teaches_at_its_boxes_only() -> None:
    (chair,), outside = _states([_view([["chair"]], exhaustive=False), _view([["dog"]])])
    assert chair["dog"] == "wrong"
    assert set(outside.values()) == {"unsaid"}


@pytest.mark.parametrize("view", [_view([]), _view([], mentioned=("sky",))])
def test_a_photo_without_boxes(view: View) -> None:
    at_boxes, outside = _states([view, _view([["dog"]])])
    assert at_boxes == [] and outside["dog"] == "wrong"


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("two brown dogs in the snow", "dog"),
        ("a group of people", "person"),
        ("his glasses", "glasses"),
        ("a red tennis ball", "tennis ball"),
        ("a man in a blue shirt", "man"),
        ("a black and white dog", "dog"),
        ("several children", "child"),
        ("a zorblax", "zorblax"),
    ],
)
def test_heads_of_phrases(phrase: str, head: str) -> None:
    assert load_concepts().head(phrase) == head


def test_related_is_symmetric_and_equals_itself() -> None:
    texts = ["dog", "animal", "sofa", "couch", "a zorblax", "zorblaxes", "woman", "people", "girl"]
    matrix = load_concepts().related(texts)
    assert np.array_equal(load_concepts().related(texts, [2, 0]), matrix[[2, 0]])
    assert (matrix == matrix.T).all() and matrix.diagonal().all()
    pairs = {(texts[i], texts[j]) for i, j in np.argwhere(np.triu(matrix, 1))}
    assert pairs >= {("dog", "animal"), ("sofa", "couch"), ("a zorblax", "zorblaxes")}
    assert {("woman", "people"), ("people", "girl")} <= pairs
    assert ("dog", "sofa") not in pairs
