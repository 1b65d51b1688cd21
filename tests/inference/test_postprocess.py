"""Scores against the plain definition, and the promises between thresholds and classes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detclipv2.geometry.boxes import iou_matrix
from detclipv2.inference.postprocess import (
    MAX_CANDIDATES,
    Candidates,
    choose_anchors,
    find_candidates,
    select,
)
from detclipv2.language.vocabulary import Vocabulary

SIZE = (200, 100)


def scene(seed: int, anchors: int, texts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random boxes, some reaching over the border, with spread logits and centerness."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(anchors, 2, generator=generator) * torch.tensor(SIZE)
    sides = 10 + 60 * torch.rand(anchors, 2, generator=generator)
    boxes = torch.cat((centers - sides / 2, centers + sides / 2), dim=1)
    logits = 2 * torch.randn(anchors, texts, generator=generator)
    return boxes, logits, 1.5 * torch.randn(anchors, generator=generator)


def plain(
    boxes: Tensor,
    logits: Tensor,
    centerness: Tensor,
    vocabulary: Vocabulary,
    threshold: float,
    nms_iou: float,
    max_boxes: int,
) -> list[tuple[int, float, list[float]]]:
    """The definition, one anchor, class and text at a time."""
    columns = {text: index for index, text in enumerate(vocabulary.texts)}

    def score(anchor: int, texts: tuple[str, ...]) -> float:
        best = max(float(logits[anchor, columns[text]].sigmoid()) for text in texts)
        return math.sqrt(best * float(centerness[anchor].sigmoid()))

    found = []
    for index, concept in enumerate(vocabulary.returned):
        for anchor in range(len(boxes)):
            value = score(anchor, concept.texts)
            rivals = [score(anchor, c.texts) for c in vocabulary.classes if c.negative]
            limit = threshold if concept.threshold is None else concept.threshold
            if value >= limit and value >= max(rivals, default=0):
                found.append((index, value, boxes[anchor]))
    found.sort(key=lambda row: -row[1])
    kept: list[tuple[int, float, list[float]]] = []
    for index, value, box in found:
        clipped = torch.minimum(box.clamp(min=0), torch.tensor([*SIZE, *SIZE]))
        rivals = [torch.tensor(b) for c, _, b in kept if c == index]
        if all(iou_matrix(clipped[None], rival[None]).item() <= nms_iou for rival in rivals):
            kept.append((index, value, clipped.tolist()))
    return kept[:max_boxes]


@pytest.mark.parametrize(
    "written",
    [
        "cat",
        "cat, dog, bird",
        "cat @0.6\ndog: hound, puppy @0.05\nbird",
        "!shadow\ncat: kitten\n!glare: shine, reflection\ndog",
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_detections_equal_the_plain_definition(written: str, seed: int) -> None:
    vocabulary = Vocabulary.parse(written)
    boxes, logits, centerness = scene(seed, 60, len(vocabulary.texts))
    found = find_candidates(boxes, logits, centerness, vocabulary, SIZE, floor=0.3)
    detections = select(found, threshold=0.3, nms_iou=0.5, max_boxes=50)
    expected = plain(boxes, logits, centerness, vocabulary, 0.3, 0.5, 50)
    assert len(expected) > 5
    assert detections.class_id.tolist() == [row[0] for row in expected]
    np.testing.assert_allclose(detections.confidence, [row[1] for row in expected], rtol=1e-5)
    np.testing.assert_allclose(detections.xyxy, [row[2] for row in expected], rtol=1e-5, atol=1e-4)
    names = [vocabulary.names[row[0]] for row in expected]
    assert detections.data["class_name"].tolist() == names


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), others=st.integers(1, 30), place=st.integers(0, 30))
def test_a_class_does_not_depend_on_the_others(seed: int, others: int, place: int) -> None:
    boxes, logits, centerness = scene(seed, 50, others + 1)
    place = min(place, others)
    names = [f"word {i}" for i in range(others + 1)]
    alone = find_candidates(
        boxes, logits[:, [place]], centerness, Vocabulary.of([names[place]]), SIZE, floor=0.2
    )
    among = find_candidates(boxes, logits, centerness, Vocabulary.of(names), SIZE, floor=0.2)
    one = select(alone, threshold=0.2, max_boxes=10_000)
    many = select(among, threshold=0.2, max_boxes=10_000)
    mine = many.class_id == place
    if len(among.scores) == MAX_CANDIDATES:  # the cap acts like a raised threshold
        one = one[one.confidence >= float(among.scores[-1])]
    np.testing.assert_array_equal(many.confidence[mine], one.confidence)
    np.testing.assert_array_equal(many.xyxy[mine], one.xyxy)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    low=st.floats(0, 1),
    rise=st.floats(0, 1),
    iou=st.floats(0, 1),
    soft=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_raising_the_threshold_is_a_pure_filter(
    seed: int, low: float, rise: float, iou: float, soft: float
) -> None:
    vocabulary = Vocabulary.of(["cat", "dog", "bird"])
    boxes, logits, centerness = scene(seed, 50, 3)
    find = partial(find_candidates, boxes, logits, centerness, vocabulary, SIZE, soft_nms=soft)
    found = find(floor=low)
    high = low + rise * (1 - low)
    loose = select(found, threshold=low, nms_iou=iou, max_boxes=1000)
    strict = select(found, threshold=high, nms_iou=iou, max_boxes=1000)
    expected = loose[loose.confidence >= np.float32(high)]
    np.testing.assert_array_equal(strict.xyxy, expected.xyxy)
    np.testing.assert_array_equal(strict.confidence, expected.confidence)
    np.testing.assert_array_equal(strict.class_id, expected.class_id)
    # Whether candidates were found for this threshold or a lower one is the same, too.
    fresh = find(floor=high)
    direct = select(fresh, threshold=high, nms_iou=iou, max_boxes=1000)
    np.testing.assert_array_equal(direct.xyxy, strict.xyxy)


def one_box(vocabulary: Vocabulary, logits: list[float]) -> Candidates:
    box = torch.tensor([[10.0, 10, 50, 50]])
    return find_candidates(
        box, torch.tensor([logits]), torch.tensor([9.0]), vocabulary, SIZE, floor=0.1
    )


def test_a_negative_takes_the_boxes_it_explains_better_and_is_never_returned() -> None:
    vocabulary = Vocabulary.parse("!shadow: shade\ncat\ndog")
    # Texts: cat, dog, shadow, shade.
    lost = select(one_box(vocabulary, [1.0, 3.0, -4.0, 2.0]), threshold=0.1)
    assert lost.data["class_name"].tolist() == ["dog"]
    assert lost.class_id.tolist() == [1]
    kept = select(one_box(vocabulary, [1.0, 3.0, -4.0, 0.9]), threshold=0.1)
    assert kept.data["class_name"].tolist() == ["dog", "cat"]


def test_thresholds_a_class_and_overrides() -> None:
    vocabulary = Vocabulary.parse("cat @0.8, dog, bird @0.05")
    found = one_box(vocabulary, [0.0, 0.0, -4.0])  # scores 0.71, 0.71, 0.13
    assert select(found, threshold=0.3).class_id.tolist() == [1, 2]
    other = replace(found, vocabulary=Vocabulary.parse("cat, dog @0.9, bird @0.1"))
    assert sorted(select(other, threshold=0.2).class_id.tolist()) == [0, 2]
    with pytest.raises(ValueError, match=r"0\.05 is below the floor 0\.1"):
        select(found, threshold=0.05)
    select(found, threshold=0.1)  # the last class brought its own, lower floor


def test_overlapping_boxes_of_different_classes_both_stay() -> None:
    boxes = torch.tensor([[10.0, 10, 50, 50], [11.0, 10, 50, 50], [12.0, 10, 50, 50]])
    logits = torch.tensor([[3.0, -9], [2.0, -9], [-9, 1.0]])
    vocabulary = Vocabulary.of(["cat", "dog"])
    found = find_candidates(boxes, logits, torch.full((3,), 9.0), vocabulary, SIZE, floor=0.3)
    assert select(found).data["class_name"].tolist() == ["cat", "dog"]
    assert len(select(found, nms_iou=1.0)) == 3
    assert select(found, max_boxes=1).data["class_name"].tolist() == ["cat"]


def test_the_candidates_are_capped_to_the_best() -> None:
    vocabulary = Vocabulary.of([f"word {i}" for i in range(40)])
    boxes, logits, centerness = scene(3, 100, 40)
    found = find_candidates(boxes, logits, centerness, vocabulary, SIZE, floor=0.0)
    assert len(found.scores) == MAX_CANDIDATES
    scores = (logits.sigmoid() * centerness.sigmoid()[:, None]).sqrt()
    expected = scores.flatten().sort(descending=True).values[:MAX_CANDIDATES]
    torch.testing.assert_close(found.scores, expected)
    more = find_candidates(boxes, logits, centerness, vocabulary, SIZE, floor=0.0, most=1500)
    assert len(more.scores) == 1500
    assert torch.equal(more.scores[:MAX_CANDIDATES], found.scores)


def test_boxes_are_clipped_and_those_outside_dropped() -> None:
    boxes = torch.tensor([[-5.0, -5, 300, 300], [0.0, 100, 50, 120], [201.0, 0, 210, 9]])
    found = find_candidates(
        boxes,
        torch.full((3, 1), 5.0),
        torch.full((3,), 5.0),
        Vocabulary.of(["cat"]),
        SIZE,
        floor=0.3,
    )
    assert found.boxes.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize("anchors", [0, 20])
def test_nothing_found_is_a_whole_answer(anchors: int) -> None:
    import supervision as sv

    boxes, logits, centerness = scene(0, anchors, 2)
    vocabulary = Vocabulary.of(["cat", "dog"])
    found = find_candidates(boxes, logits, centerness, vocabulary, SIZE, floor=1.0)
    nothing = select(found, threshold=1.0)
    assert nothing.xyxy.shape == (0, 4)
    assert len(nothing.confidence) == len(nothing.class_id) == 0
    assert nothing.data["class_name"].tolist() == []
    full = select(one_box(vocabulary, [3.0, 0.0]), threshold=0.3)
    merged = sv.Detections.merge([nothing, full, nothing])
    assert merged.data["class_name"].tolist() == ["cat", "dog"]
    assert nothing[nothing.confidence > 0.5].data["class_name"].tolist() == []


def test_anchors_are_chosen_without_looking_at_words() -> None:
    centerness = torch.tensor([3.0, -9.0, 1.0, 2.0, -1.0])
    assert choose_anchors(centerness, 0.0, 1.0).tolist() == [0, 3, 2, 4, 1]
    assert choose_anchors(centerness, 0.0, 0.5).tolist() == [0, 3, 2]
    assert choose_anchors(centerness, 0.9, 1.0).tolist() == [0, 3]  # sqrt(sigmoid(2)) = 0.94
    assert choose_anchors(centerness[:0], 0.1).tolist() == []


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), floor=st.floats(0.01, 1))
def test_dropping_anchors_below_the_floor_loses_nothing(seed: int, floor: float) -> None:
    boxes, logits, centerness = scene(seed, 40, 3)
    vocabulary = Vocabulary.of(["cat", "dog", "bird"])
    chosen = choose_anchors(centerness, floor, 1.0)
    some = find_candidates(
        boxes[chosen], logits[chosen], centerness[chosen], vocabulary, SIZE, floor=floor
    )
    everything = find_candidates(boxes, logits, centerness, vocabulary, SIZE, floor=floor)
    assert torch.equal(some.scores, everything.scores)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold must lie in 0..1, got 1.5"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": -1.0}, "threshold must lie in 0..1, got -1"),
        ({"nms_iou": -0.1}, "nms_iou must lie in 0..1, got -0.1"),
        ({"max_boxes": 0}, "max_boxes must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    found = one_box(Vocabulary.of(["cat", "dog"]), [0.0, 0.0])
    with pytest.raises(ValueError, match=message):
        select(found, **settings)
