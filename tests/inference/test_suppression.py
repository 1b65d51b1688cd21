"""The rules of suppression, one by one and together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from detclipv2.geometry.boxes import coverage_matrix
from detclipv2.inference import suppression
from detclipv2.inference.suppression import Suppression, suppress


def stay(
    boxes: list[list[float]],
    classes: list[int],
    rules: Suppression,
    pictures: list[int] | None = None,
    thresholds: list[float] | None = None,
) -> list[int]:
    """Which boxes of falling scores stay."""
    count = len(boxes)
    scores = torch.linspace(0.9, 0.5, count)
    of = None if pictures is None else torch.tensor(pictures)
    least = torch.tensor(thresholds or [0.0] * count)
    kept, _ = suppress(torch.tensor(boxes), scores, torch.tensor(classes), least, rules, of)
    return sorted(kept.tolist())


PLAIN = Suppression(0.6)
ONE_NAME = Suppression(0.6, one_name=True)
WHOLE = Suppression(0.6, whole_things=True)
BOX = [0.0, 0.0, 10.0, 10.0]


def test_classes_are_apart_unless_one_name_a_place_is_wanted() -> None:
    near, far = [0.0, 0.0, 10.0, 11.0], [20.0, 0.0, 30.0, 10.0]
    assert stay([BOX, near, far], [0, 1, 1], PLAIN) == [0, 1, 2]
    assert stay([BOX, near, far], [0, 1, 1], ONE_NAME) == [0, 2]
    assert stay([BOX, near], [0, 0], PLAIN) == [0]
    assert stay([BOX, near], [0, 1], ONE_NAME, pictures=[0, 1]) == [0, 1]


def test_a_class_below_its_threshold_takes_no_place() -> None:
    assert stay([BOX, BOX], [0, 1], ONE_NAME, thresholds=[0.95, 0.0]) == [1]


def test_parts_and_nests_of_one_class_are_dropped() -> None:
    part, nest = [1.0, 1.0, 5.0, 5.0], [0.0, 0.0, 30.0, 30.0]
    assert stay([BOX, part, nest], [0, 0, 0], PLAIN) == [0, 1, 2]
    assert stay([BOX, part, nest], [0, 0, 0], WHOLE) == [0]
    assert stay([BOX, part, nest], [0, 1, 1], WHOLE) == [0, 1]
    assert stay([BOX, part], [0, 0], WHOLE, pictures=[0, 1]) == [0, 1]
    beside = [8.5, 0.0, 18.5, 10.0]
    assert stay([BOX, beside], [0, 0], WHOLE) == [0, 1]
    # The nest is gone, so what it holds besides stays.
    assert stay([BOX, nest, [20.0, 20.0, 28.0, 28.0]], [0, 0, 0], WHOLE) == [0, 2]


def test_coverage_is_of_the_smaller_box() -> None:
    a = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    b = torch.tensor([[0.0, 0.0, 5.0, 10.0], [5.0, 0.0, 25.0, 10.0], [3.0, 3.0, 3.0, 3.0]])
    assert coverage_matrix(a, b).tolist() == [[1.0, 0.5, 0.0]]


def test_nothing_is_no_error() -> None:
    none = torch.zeros(0)
    for rules in (PLAIN, ONE_NAME, WHOLE):
        kept, scores = suppress(torch.zeros(0, 4), none, none.long(), none, rules)
        assert len(kept) == len(scores) == 0


def _random(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(40, 2, generator=random) * 20
    boxes = torch.cat((corner, corner + 2 + torch.rand(40, 2, generator=random) * 15), dim=1)
    scores = torch.rand(40, generator=random).sort(descending=True).values
    classes = torch.randint(0, 3, (40,), generator=random)
    return boxes, scores, classes, torch.randint(0, 2, (40,), generator=random)


@given(st.integers(0, 10_000), st.floats(0, 1), st.booleans(), st.booleans())
def test_raising_the_threshold_only_removes(
    seed: int, least: float, one_name: bool, whole: bool
) -> None:
    boxes, scores, classes, _ = _random(seed)
    rules = Suppression(0.6, 0.3, one_name, whole)
    low, low_scores = suppress(boxes, scores, classes, torch.zeros(40), rules)
    high, _ = suppress(boxes, scores, classes, torch.full((40,), least), rules)
    assert high.tolist() == low[low_scores >= least].tolist()


@pytest.mark.parametrize("at_once", [2048, 10])
@pytest.mark.parametrize("seed", range(20))
def test_pictures_together_are_pictures_alone(
    seed: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "_AT_ONCE", at_once)
    boxes, scores, classes, pictures = _random(seed)
    rules = Suppression(0.6, 0.3, True, True)
    least = torch.full((40,), 0.1)
    kept, found = suppress(boxes, scores, classes, least, rules, pictures)
    assert (found.diff() <= 0).all()
    for picture in (0, 1):
        own = (pictures == picture).nonzero()[:, 0]
        alone, softened = suppress(boxes[own], scores[own], classes[own], least[own], rules)
        mine = pictures[kept] == picture
        assert kept[mine].tolist() == own[alone].tolist()
        torch.testing.assert_close(found[mine], softened)
