"""Word-region alignment: how well the words of a text fit the regions of a picture (Eq. 2-4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Matching = Literal["max", "softmax"]


def word_region_scores(regions: Tensor, words: Tensor) -> Tensor:
    """The similarity of every region with every word: (..., R, D), (P, D) → (..., R, P).

    Without the bias of Eq. 1, which is the same for all and cancels in the loss.
    """
    # In half precision several regions tie for the best of a phrase, and Eq. 2 knows only one.
    with torch.autocast(regions.device.type, enabled=False):
        return torch.einsum("...rd,pd->...rp", regions, words)


def best_regions(scores: Tensor) -> Tensor:
    """The region of each phrase, Eq. 2: (..., R, P) similarities → (..., P) indices."""
    return scores.argmax(dim=-2)


def match_words(scores: Tensor, matching: Matching = "max", temperature: float = 0.1) -> Tensor:
    """How well each phrase is matched by the regions of each picture.

    Args:
        scores: (..., R, P) similarities; a region that is padding has -inf for every phrase.
        matching: "max" takes the best region (Eq. 3), "softmax" the mean of all regions weighted by
            their softmax (Eq. 4), which becomes the former as `temperature` goes to 0.
        temperature: τ_t of Eq. 4.

    Returns:
        (..., P).

    Raises:
        ValueError: another matching, or a temperature that is not positive.
    """
    if matching == "max":
        return scores.amax(dim=-2)
    if matching != "softmax" or temperature <= 0:
        raise ValueError(
            f"matching must be 'max' or 'softmax' with temperature > 0, got {matching!r}, "
            f"{temperature}"
        )
    weights = (scores / temperature).softmax(dim=-2)
    return (weights * scores.masked_fill(scores.isneginf(), 0)).sum(dim=-2)


def text_image_similarity(
    regions: Tensor,
    present: Tensor,
    words: Tensor,
    text_of_word: Tensor,
    texts: int,
    *,
    matching: Matching = "max",
    temperature: float = 0.1,
    weight: Tensor | None = None,
    chunk: int = 0,
) -> Tensor:
    """s_T of every text with every picture (Eq. 3 or 4): the mean over its words of their match.

    Args:
        regions: (B, R, D) embeddings of the kept regions.
        present: (B, R) bool, False for padding.
        words: (P, D) embeddings of all phrases of all texts.
        text_of_word: (P,) long, which text each phrase belongs to.
        texts: T, how many texts there are.
        matching: see `match_words`.
        temperature: see `match_words`.
        weight: (P,) how much each phrase counts in its text's mean; by default all the same.
        chunk: pictures compared at once; their (chunk, R, P) similarities are computed anew in the
            backward pass, so that memory does not grow with B. 0 compares all at once and keeps
            everything.

    Returns:
        (T, B). A text without words, or without any weight, has similarity 0.
    """

    def matched(some: Tensor, kept: Tensor, words: Tensor) -> Tensor:
        scores = word_region_scores(some, words)
        return match_words(
            scores.masked_fill(~kept[..., None], float("-inf")), matching, temperature
        )

    if not len(words):
        return regions.sum() * 0 + regions.new_zeros((texts, len(regions)))
    if chunk:
        # Into memory taken beforehand: small results kept between the large ones that come and go
        # would let the heap grow with every chunk.
        by_word = regions.new_empty((len(regions), len(words)))
        for first in range(0, len(regions), chunk):
            part = slice(first, first + chunk)
            by_word[part] = checkpoint(
                matched,
                regions[part],
                present[part],
                words,
                use_reentrant=False,
                preserve_rng_state=False,
            )
    else:
        by_word = matched(regions, present, words)
    weight = by_word.new_ones(len(words)) if weight is None else weight.to(by_word.dtype)
    total = by_word.new_zeros(texts).index_add(0, text_of_word, weight)
    by_word = by_word * (weight / total.clamp(min=1e-6)[text_of_word])
    return by_word.new_zeros((texts, len(regions))).index_add(0, text_of_word, by_word.T)
