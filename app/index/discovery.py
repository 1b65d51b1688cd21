"""What a run holds: names of the dictionary, ranked by how well the run's regions bear them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from app.box import Corners
from app.index.store import RegionIndex
from app.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor

PHOTOS, REGIONS = 500, 32
"""Of a run so many photos, evenly spread, and of each its surest regions, are named."""
_EXAMPLES = 4
_NAMES = 256
"""Read at once."""


@dataclass(frozen=True)
class Concept:
    """A name and where it was seen.

    Attributes:
        name: of the dictionary.
        share: which share of the photos it was seen in, as a sum of probabilities.
        examples: photos and boxes, the surest first.
    """

    name: str
    share: float
    examples: tuple[tuple[int, Corners], ...]


def discover(
    index: RegionIndex,
    predictor: Predictor,
    names: Sequence[str],
    *,
    most: int = 50,
    photos: int = PHOTOS,
    on_progress: OnProgress = ignore_progress,
) -> list[Concept]:
    """The concepts that the photos hold, the most frequent first.

    Each region is shared out among the names by the softmax of their similarities; a photo counts
    for a name what its best region does, by how well that region fits a thing.

    Args:
        index: of the run.
        predictor: of the index's checkpoint.
        names: of concepts.
        most: concepts that are returned.
        photos: that are looked into.
        on_progress: called after some of the names were read, and some photos; what it raises ends
            the work, and names that were read are kept by the model.
    """
    if not len(index) or not names:
        return []
    chosen = index.places[:: max(1, len(index) // photos)]
    steps = len(names) + len(chosen)
    for start in range(0, len(names), _NAMES):
        predictor.encode_texts(names[start : start + _NAMES])
        on_progress(min(start + _NAMES, len(names)), steps)
    with torch.inference_mode():
        words = predictor.model.words(predictor.encode_texts(names).to(predictor.device))
        words = words.float().cpu().T
        best = torch.zeros(len(chosen), len(names))
        where = torch.zeros(len(chosen), len(names), dtype=torch.long)
        for number, place in enumerate(chosen.tolist()):
            regions = index.regions(place)
            fits = (
                torch.from_numpy(regions.objectness)
                * torch.from_numpy(regions.localisation).sigmoid()
            )
            if not len(fits):
                continue
            top = fits.topk(min(REGIONS, len(fits))).indices
            embeddings = regions.embeddings[top.numpy()] * regions.scale[top.numpy(), None]
            named = (torch.from_numpy(embeddings) @ words).softmax(dim=1) * fits[top, None]
            best[number], region = named.max(dim=0)
            where[number] = top[region]
            on_progress(len(names) + number + 1, steps)
        share = best.mean(dim=0)
        ranked = share.topk(min(most, len(names))).indices.tolist()
    found = []
    for concept in ranked:
        surest = best[:, concept].topk(min(_EXAMPLES, len(chosen))).indices.tolist()
        examples = []
        for number in surest:
            record = index.records[chosen[number]]
            box = record["boxes"][int(where[number, concept])]
            examples.append((int(record["image"]), tuple(map(float, box))))
        found.append(Concept(names[concept], float(share[concept]), tuple(examples)))  # type: ignore[arg-type]
    return found
