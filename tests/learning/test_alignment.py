from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detclipv2.learning.alignment import (
    best_regions,
    match_words,
    text_image_similarity,
    word_region_scores,
)


def _plain(regions: list[Tensor], words: list[Tensor], matching: str, temperature: float) -> Tensor:
    """Eq. 3 and 4 as they are written: one text, one picture, one word at a time."""
    rows = []
    for text in words:
        row = []
        for picture in regions:
            total = torch.zeros((), dtype=picture.dtype)
            for word in text:
                scores = picture @ word
                if matching == "max":
                    total = total + scores[scores.argmax()]
                else:
                    total = total + ((scores / temperature).softmax(0) * scores).sum()
            row.append(total / max(1, len(text)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def _case(sizes: list[int], counts: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(sum(sizes) + 7 * sum(counts))

    def vectors(n: int) -> Tensor:
        return torch.randn(n, 6, dtype=torch.double, generator=generator)

    return [vectors(n) for n in sizes], [vectors(n) for n in counts]


def _packed(regions: list[Tensor], words: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    most = max(map(len, regions))
    padded = torch.zeros(len(regions), most, 6, dtype=torch.double)
    present = torch.zeros(len(regions), most, dtype=torch.bool)
    for index, picture in enumerate(regions):
        padded[index, : len(picture)] = picture
        present[index, : len(picture)] = True
    owner = torch.tensor([i for i, text in enumerate(words) for _ in text], dtype=torch.long)
    return padded, present, torch.cat(words), owner


@pytest.mark.parametrize("matching", ["max", "softmax"])
@pytest.mark.parametrize("chunk", [0, 1, 2, 3, 100])
@pytest.mark.parametrize(
    ("sizes", "counts"), [([4, 4], [1, 2]), ([5, 2, 3, 1, 4], [2, 1, 3]), ([3], [0, 2])]
)
def test_similarity_equals_the_loops_of_the_equations_chunked_or_not(
    matching: str, chunk: int, sizes: list[int], counts: list[int]
) -> None:
    regions, words = _case(sizes, counts)
    padded, present, packed, owner = _packed(regions, words)
    padded.requires_grad_()
    packed.requires_grad_()
    ours = text_image_similarity(
        padded,
        present,
        packed,
        owner,
        len(words),
        matching=matching,
        temperature=0.7,  # type: ignore[arg-type]
        chunk=chunk,
    )
    for tensor in (*regions, *words):
        tensor.requires_grad_()
    plain = _plain(regions, words, matching, 0.7)
    torch.testing.assert_close(ours, plain)
    weight = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0)).double()
    (ours * weight).sum().backward()
    (plain * weight).sum().backward()
    assert padded.grad is not None and packed.grad is not None
    theirs = [torch.zeros_like(t) if t.grad is None else t.grad for t in (*regions, *words)]
    torch.testing.assert_close(padded.grad[present], torch.cat(theirs[: len(regions)]))
    torch.testing.assert_close(packed.grad, torch.cat(theirs[len(regions) :]))
    assert (padded.grad[~present] == 0).all()


def test_regions_are_told_apart_in_half_precision_training_too() -> None:
    words = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    base = torch.randn(1, 128, generator=torch.Generator().manual_seed(1))
    regions = base + 1e-4 * torch.arange(50.0)[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        scores = word_region_scores(regions, words)
    assert scores.dtype == torch.float32
    assert all(len(column.unique()) == 50 for column in scores.T)


def test_softmax_matching_becomes_the_best_region_as_its_temperature_falls() -> None:
    scores = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(match_words(scores, "softmax", 1e-4), match_words(scores, "max"))
    assert (match_words(scores, "softmax", 5.0) < match_words(scores, "max")).all()
    picked = scores.gather(1, best_regions(scores)[:, None]).squeeze(1)
    torch.testing.assert_close(picked, match_words(scores, "max"))


def test_a_text_without_words_gives_zeros_and_finite_gradients() -> None:
    regions = torch.randn(2, 3, 4, requires_grad=True)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    value = text_image_similarity(regions, torch.ones(2, 3, dtype=torch.bool), *none, 2)
    value.sum().backward()
    assert value.shape == (2, 2) and (value == 0).all()
    assert regions.grad is not None and regions.grad.isfinite().all()


def test_unknown_matching_is_named() -> None:
    with pytest.raises(ValueError, match="hungarian"):
        match_words(torch.zeros(1, 2, 3), "hungarian")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-1"):
        match_words(torch.zeros(1, 2, 3), "softmax", -1.0)
