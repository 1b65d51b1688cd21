from __future__ import annotations

import pytest
import torch

from detclipv2.geometry.boxes import iou_matrix
from detclipv2.learning.proposals import (
    OBJECTNESS,
    largest_region,
    objectness,
    select_regions,
    text_objectness,
)


def _boxes(count: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(batch, count, 2, generator=generator) * 80
    return torch.cat((corner, corner + 5 + 20 * torch.rand(corner.shape, generator=generator)), -1)


def _plain_nms(boxes: torch.Tensor, ranking: torch.Tensor, k: int, iou: float) -> list[int]:
    kept: list[int] = []
    for index in ranking.argsort(descending=True).tolist():
        if all(iou_matrix(boxes[[index]], boxes[[other]]) <= iou for other in kept):
            kept.append(index)
    return kept[:k]


@pytest.mark.parametrize("k", [1, 7, 100])
def test_selection_is_top_k_after_suppression_and_batch_equals_singles(k: int) -> None:
    boxes = _boxes(60)
    ranking = torch.rand(2, 60, generator=torch.Generator().manual_seed(1))
    chosen, present = select_regions(boxes, ranking, k, nms_iou=0.4)
    assert chosen.shape == present.shape == (2, k)
    for index in range(2):
        expected = _plain_nms(boxes[index], ranking[index], k, 0.4)
        assert chosen[index][present[index]].tolist() == expected
        alone = select_regions(boxes[[index]], ranking[[index]], k, nms_iou=0.4)
        assert torch.equal(alone[0][0], chosen[index]) and torch.equal(alone[1][0], present[index])


def test_identical_boxes_leave_one_and_padding_is_marked() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]] * 5])
    chosen, present = select_regions(boxes, torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.0]]), 3)
    assert chosen.tolist() == [[1, 0, 0]] and present.tolist() == [[True, False, False]]


def test_without_any_ranking_the_first_boxes_are_kept() -> None:
    """A batch without concepts ranks every anchor at -inf; selection must still work."""
    boxes = _boxes(30, batch=1)
    _, present = select_regions(boxes, torch.full((1, 30), float("-inf")), 4, nms_iou=1.0)
    assert present.all()


def test_every_objectness_of_table_2a_ranks_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 8, 3, generator=generator)
    branches = {n: torch.randn(2, 8, generator=generator) for n in ("foreground", "iou")}
    centerness = torch.randn(2, 8, generator=generator)
    own = torch.tensor([[True, False, False], [False, True, True]])
    found = {
        kind: objectness(kind, centerness=centerness, scores=scores, own=own, **branches)
        for kind in OBJECTNESS
    }
    assert torch.equal(found["foreground"], branches["foreground"])
    assert torch.equal(found["iou"], branches["iou"])
    assert torch.equal(found["centerness"], centerness)
    assert torch.equal(found["text_sample"][0], scores[0, :, 0])
    assert torch.equal(found["text_sample"][1], scores[1, :, 1:].amax(-1))
    assert torch.equal(found["text_batch"], scores.amax(-1))
    product = scores.amax(-1).sigmoid() * centerness.sigmoid()
    torch.testing.assert_close(found["text_batch_centerness"], product)


def test_missing_branches_and_unknown_scores_are_named() -> None:
    centerness, scores, own = torch.zeros(1, 2), torch.zeros(1, 2, 1), torch.ones(1, 1).bool()
    with pytest.raises(ValueError, match="quality=True"):
        objectness("iou", centerness=centerness, scores=scores, own=own)
    with pytest.raises(ValueError, match="luck"):
        objectness("luck", centerness=centerness, scores=scores, own=own)  # type: ignore[arg-type]
    assert text_objectness(torch.zeros(1, 4, 0)).isneginf().all()
    with pytest.raises(ValueError, match="0"):
        select_regions(torch.zeros(1, 2, 4), torch.zeros(1, 2), 0)


def test_the_largest_region_is_among_the_present_ones() -> None:
    boxes = torch.tensor([[[0.0, 0, 99, 99], [0, 0, 10, 10], [0, 0, 20, 10]]])
    chosen, present = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])
    index, there = largest_region(boxes, chosen, present)
    assert index.tolist() == [[2]] and there.tolist() == [[True]]
