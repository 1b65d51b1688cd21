"""More like this: the regions of a run that are most like some boxes, and unlike others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.box import Corners
from app.index.store import RegionIndex, RunIndexError
from detclipv2.labeling.matching import iou

_PHOTOS = 64
LEAST_IOU = 0.5
"""A region stands for a box that it overlaps by this much."""


@dataclass(frozen=True)
class Alike:
    """A region of a photo, and how like the examples it is, in -1..1."""

    image: int
    xyxy: Corners
    similarity: float


def example(index: RegionIndex, image: int, xyxy: Corners) -> NDArray[np.float32]:
    """(D,) unit embedding of the region that fits a box best.

    Raises:
        RunIndexError: the photo is not in the index, or no region is where the box is.
    """
    places = index.places[index.images == image]
    if not len(places):
        raise RunIndexError(f"photo {image} is not in the index; look at it again")
    regions = index.regions(int(places[0]))
    overlap = iou(regions.boxes, np.array([xyxy], np.float32))[:, 0]
    best = int(overlap.argmax()) if len(overlap) else 0
    if not len(overlap) or overlap[best] < LEAST_IOU:
        raise RunIndexError(f"nothing was kept of the box {tuple(map(round, xyxy))}; draw another")
    return _unit(regions.embeddings[best].astype(np.float32))


def alike(
    index: RegionIndex,
    positive: Sequence[NDArray[np.float32]],
    negative: Sequence[NDArray[np.float32]] = (),
    most: int = 100,
) -> list[Alike]:
    """The best region of each photo, photos most alike first.

    The similarity is the cosine with the nearest positive example, less what the nearest negative
    one is nearer than that.

    Args:
        index: of the run.
        positive: unit embeddings, at least one; see `example`.
        negative: likewise; none is needed.
        most: photos.
    """
    if not positive:
        raise ValueError("name at least one box to look like")
    wanted = np.stack([*positive, *negative]).T
    found: list[Alike] = []
    for places in index.chunks(_PHOTOS):
        records = index.records[places]
        embeddings = index.embeddings[places].astype(np.float32)
        norms = np.linalg.norm(embeddings, axis=2, keepdims=True)
        cosines = (embeddings @ wanted) / np.maximum(norms, 1e-9)
        near = cosines[..., : len(positive)].max(axis=2)
        if negative:
            far = cosines[..., len(positive) :].max(axis=2)
            near = near - np.maximum(far - near, 0)
        empty = np.arange(near.shape[1]) >= records["count"][:, None]
        near[empty] = -np.inf
        best = near.argmax(axis=1)
        for number, region in enumerate(best.tolist()):
            if records["count"][number]:
                box = tuple(map(float, records["boxes"][number, region]))
                score = float(near[number, region])
                found.append(Alike(int(records["image"][number]), box, score))  # type: ignore[arg-type]
    found.sort(key=lambda one: -one.similarity)
    return found[:most]


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
