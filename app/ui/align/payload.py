"""An alignment as JSON values for the page: numbers in full, maps and photo ready to be drawn."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import torch

from app.formats.drawing import colour_of, encode, text_colour_on

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from app.engine_types import Aligned

_DECIMALS = 6  # finer than the 1e-5 that the page's numbers are tested to


def view(aligned: Aligned, photo: Image.Image, evidence: float) -> dict[str, Any]:
    """What the inspector draws.

    Args:
        aligned: from the engine.
        photo: the picture to draw on, of any size with the photo's aspect.
        evidence: where the threshold of "not in this photo" begins.
    """
    values = aligned.alignment.to_json()
    whole = (0, len(values["caption"]))
    for index, phrase in enumerate(values["phrases"]):
        colour = colour_of(index)
        phrase["colour"], phrase["ink"] = colour, text_colour_on(colour)
        phrase["whole"] = phrase["span"] is not None and tuple(phrase["span"]) == whole
    return {
        **values,
        "scores": _rounded(aligned.alignment.scores),
        "weights": _rounded(aligned.alignment.weights),
        "boxes": _rounded(aligned.alignment.boxes, 2),
        "evidence": evidence,
        "photo": "data:image/jpeg;base64," + base64.b64encode(encode(photo, "JPEG")).decode(),
        "maps": maps(aligned),
        "key": aligned.key,
        "seconds": round(aligned.seconds, 3),
        "image_ran": aligned.image_ran,
    }


def maps(aligned: Aligned) -> dict[str, Any]:
    """The similarity maps as bytes: 0 for the lowest and 255 for the highest value of a phrase.

    One range a phrase over all levels, so that levels can be compared.
    """
    low = [min(float(m[p].min()) for m in aligned.maps) for p in range(len(aligned.maps[0]))]
    high = [max(float(m[p].max()) for m in aligned.maps) for p in range(len(aligned.maps[0]))]
    return {
        "sizes": [[m.shape[2], m.shape[1]] for m in aligned.maps],
        "share": list(aligned.share),
        "low": [round(value, _DECIMALS) for value in low],
        "high": [round(value, _DECIMALS) for value in high],
        "bytes": [
            [_bytes(m[phrase], low[phrase], high[phrase]) for m in aligned.maps]
            for phrase in range(len(low))
        ],
    }


def _bytes(values: Tensor, low: float, high: float) -> str:
    scaled = (values - low) / max(high - low, 1e-9) * 255
    return base64.b64encode(scaled.round().to(torch.uint8).numpy().tobytes()).decode()


def _rounded(values: Tensor, decimals: int = _DECIMALS) -> list[list[float]]:
    return [[round(value, decimals) for value in row] for row in values.tolist()]
