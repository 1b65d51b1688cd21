"""Which regions of a photo are worth keeping, and their embeddings in eight bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detclipv2.geometry.boxes import clip
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.postprocess import choose_anchors
from detclipv2.inference.region_numbers import KEPT, kept_regions
from detclipv2.regions import choose


@dataclass(frozen=True, eq=False)
class KeptRegions:
    """R regions of one photo.

    Attributes:
        boxes: (R, 4) float32 xyxy in pixels of the upright original, clipped to it.
        localisation: (R,) float32 logits, the factor beside the similarity in a score.
        objectness: (R,) float32 in 0..1, see `Regions.objectness`.
        embeddings: (R, D) int8.
        scale: (R,) float32; a region's embedding is about `embeddings * scale`.
    """

    boxes: NDArray[np.float32]
    localisation: NDArray[np.float32]
    objectness: NDArray[np.float32]
    embeddings: NDArray[np.int8]
    scale: NDArray[np.float32]


def quantise(embeddings: Tensor) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(R, D) → eight bits (R, D), off by half a scale at most, and a scale a region (R,)."""
    scale = embeddings.abs().amax(dim=1) / 127
    rounded = (embeddings / scale.clamp(min=1e-20)[:, None]).round()
    return rounded.to(torch.int8).numpy(), scale.float().numpy()


def choose_regions(
    encoded: EncodedImage, words: Tensor | None = None, most: int = KEPT
) -> KeptRegions:
    """What an index keeps of a photo, see `kept_regions`.

    Only those that detection compares with words (see `postprocess.choose_anchors`), and none that
    the photo's borders leave no area.

    Args:
        encoded: the photo.
        words: (T, D) at the model's scale, see `DetCLIPv2.words`; None for none.
        most: R, or all regions where the photo has fewer.
    """
    central = choose_anchors(encoded.regions.localisation, 0.0)
    regions = choose(encoded.regions, central)
    boxes = clip(encoded.letterbox.to_original(regions.boxes), *encoded.size)
    chosen = kept_regions(regions, boxes, words, most)
    chosen = chosen[(boxes[chosen, 2:] > boxes[chosen, :2]).all(dim=1)]
    embeddings, scale = quantise(regions.embeddings[chosen].float())
    return KeptRegions(
        boxes=boxes[chosen].float().numpy(),
        localisation=regions.localisation[chosen].float().numpy(),
        objectness=regions.objectness[chosen].float().numpy(),
        embeddings=embeddings,
        scale=scale,
    )


def photo_embedding(encoded: EncodedImage) -> NDArray[Any]:
    """(D,) float32 unit vector of the whole photo: its regions', by how surely each is a thing."""
    regions = encoded.first_look
    weights = (regions.objectness * regions.localisation.sigmoid()).float()
    mean = (
        torch.nn.functional.normalize(regions.embeddings.float(), dim=1) * weights[:, None]
    ).sum(0)
    return np.asarray(torch.nn.functional.normalize(mean, dim=0).numpy())
