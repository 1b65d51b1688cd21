"""Which concept is right, wrong or unsaid for which box: the concepts of a batch and their targets.

All concepts of a batch are gathered and written once each; every concept of another photo is a
negative, unless it may mean the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detclipv2.language.concepts import ConceptDictionary
from train.data.transforms import View


@dataclass(frozen=True)
class PhotoTarget:
    """What one canvas says of the K concepts of its batch.

    Attributes:
        boxes: (N, 4) xyxy in the network's input.
        positive: (N, K) bool, the concept names the box.
        unsaid: (N, K) bool, it may (a synonym, a hypernym, a hyponym): neither right nor wrong.
        unsaid_outside: (K,) bool, the same for what no box covers.
    """

    boxes: Tensor
    positive: Tensor
    unsaid: Tensor
    unsaid_outside: Tensor


def sought(target: PhotoTarget) -> Tensor:
    """(K,) bool: concepts that name a box, and nothing unboxed in the photo."""
    return target.positive.any(dim=0) & ~target.unsaid_outside


def gather_concepts(views: Sequence[View], negatives: Sequence[str] = ()) -> tuple[str, ...]:
    """The K distinct concepts of a batch, in order of appearance, then the extra negatives."""
    own = (concept for view in views for concept in view.concepts)
    return tuple(dict.fromkeys([*own, *negatives]))


def fill_concepts(
    own: Sequence[str], most: int, vocabulary: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """Negatives that bring a photo's concepts to `most` (the paper's M), drawn without repeats.

    Names that the photo has already are drawn in vain, as rarely as they are among many.
    """
    room = min(max(0, most - len(own)), len(vocabulary))
    drawn = rng.choice(len(vocabulary), room, replace=False)
    return [vocabulary[index] for index in drawn if vocabulary[index] not in own]


def build_targets(
    views: Sequence[View], concepts: Sequence[str], dictionary: ConceptDictionary
) -> list[PhotoTarget]:
    """Targets of each view over `concepts`, which must hold all of the views' own.

    A concept of another photo is a negative of this photo's boxes unless it is related to one of
    the box's own names; outside the boxes, unless it is related to anything named in the photo.
    The photo's own concepts are negatives where they have no box, if they have a box at all. A view
    that is not exhaustive says nothing of what lies outside its boxes, except of its `complete`
    names.
    """
    column = {concept: index for index, concept in enumerate(concepts)}
    owned = sorted({column[concept] for view in views for concept in view.concepts})
    # Of thousands of concepts most are negatives of all photos, whose rows nobody asks for.
    related = dict(zip(owned, dictionary.related(concepts, owned), strict=True))
    return [_photo_target(view, column, related) for view in views]


def _photo_target(
    view: View, column: dict[str, int], related: dict[int, NDArray[np.bool_]]
) -> PhotoTarget:
    own = [column[concept] for concept in view.concepts]
    rows = np.array([related[index] for index in own], bool).reshape(len(own), len(column))
    positive = np.zeros((len(view.boxes), len(column)), dtype=bool)
    positive[:, own] = view.labels
    related_to = [rows[named].any(axis=0) for named in view.labels]
    unsaid = np.array(related_to, bool).reshape(positive.shape) & ~positive
    if view.exhaustive:
        outside = np.asarray(rows.any(axis=0))
        boxed = np.flatnonzero(view.labels.any(axis=0))
        outside[[own[i] for i in boxed]] = False
    else:
        outside = np.ones(len(column), dtype=bool)
        outside[[column[name] for name in view.complete if name in column]] = False
    return PhotoTarget(*map(torch.from_numpy, (view.boxes, positive, unsaid, outside)))
