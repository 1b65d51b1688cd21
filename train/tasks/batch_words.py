"""The words of a batch of image-text pairs: whose they are, and which mean the same."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Words:
    """The words of the local photos: distinct `texts`, and per phrase its text and its photo.

    `names` are the photos' own; two pairs of one photo are no negatives of each other.
    """

    texts: tuple[str, ...]
    text: Tensor
    photo: Tensor
    names: tuple[str, ...]

    def own(self, photos: int) -> Tensor:
        """(B, U) bool: which distinct texts are a photo's own."""
        mine = torch.zeros(photos, len(self.texts), dtype=torch.bool, device=self.text.device)
        mine[self.photo, self.text] = True
        return mine


def collect_words(
    own: Sequence[Sequence[str]], names: Sequence[str], device: torch.device
) -> Words:
    """The words of photos, each distinct text once.

    Args:
        own: of every photo, what it is said to show.
        names: of the photos; empty where unknown.
        device: of the result's tensors.
    """
    said = [list(dict.fromkeys(texts)) for texts in own]
    distinct = tuple(dict.fromkeys(name for texts in said for name in texts))
    column = {name: index for index, name in enumerate(distinct)}
    flat = [(column[name], photo) for photo, texts in enumerate(said) for name in texts]
    text, photo = torch.tensor(flat, dtype=torch.long, device=device).reshape(-1, 2).unbind(1)
    return Words(distinct, text, photo, tuple(names))


def alike(names: Sequence[str], owner: Sequence[int], phrases: Sequence[str]) -> Tensor:
    """(T, T) bool: pairs that say the same in all words, or show the same photo.

    Args:
        names: of the T photos; empty where unknown.
        owner: of every phrase, whose it is.
        phrases: all of them.
    """
    text = _numbers(_said(len(names), owner, phrases))
    photo = _numbers([name or ("unknown", index) for index, name in enumerate(names)])
    return (text[:, None] == text[None]) | (photo[:, None] == photo[None])


def repeated(texts: int, owner: Sequence[int], phrases: Sequence[str]) -> Tensor:
    """(T,) bool: texts of which an earlier one says the same in all words.

    A class with many photos in a batch is one class nevertheless, when a photo chooses among them.
    """
    numbers = _numbers(_said(texts, owner, phrases))
    # Numbers count up, so one that is not above all before it was there already.
    before = torch.cat((numbers.new_tensor([-1]), numbers))[: len(numbers)].cummax(0).values
    return numbers <= before


def _said(texts: int, owner: Sequence[int], phrases: Sequence[str]) -> list[frozenset[str]]:
    said: list[set[str]] = [set() for _ in range(texts)]
    for index, phrase in zip(owner, phrases, strict=True):
        said[index].add(phrase)
    return [frozenset(words) for words in said]


def _numbers(things: Sequence[Hashable]) -> Tensor:
    number: dict[Hashable, int] = {}
    return torch.tensor(
        [number.setdefault(thing, len(number)) for thing in things], dtype=torch.long
    )
