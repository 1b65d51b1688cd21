"""The words of a batch of image-text pairs: whose they are, and which mean the same."""

from __future__ import annotations

from collections.abc import Sequence
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
    said: list[set[str]] = [set() for _ in names]
    for index, phrase in zip(owner, phrases, strict=True):
        said[index].add(phrase)
    number: dict[object, int] = {}
    text = torch.tensor([number.setdefault(frozenset(s), len(number)) for s in said])
    photo = torch.tensor(
        [number.setdefault(n or ("unknown", i), len(number)) for i, n in enumerate(names)]
    )
    return (text[:, None] == text[None]) | (photo[:, None] == photo[None])
