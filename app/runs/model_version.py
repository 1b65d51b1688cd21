"""Which boxes a model version stands for: made into a text and read from one here only."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = "detclipv2"
_USUAL_THRESHOLD, _USUAL_NMS_IOU, _USUAL_MAX_BOXES = 0.3, 0.6, 100
"""Left out of a version. They are part of what versions on servers mean, so they never change,
whatever the settings' defaults become."""
_TEXT = re.compile(rf"{NAME}-(?P<model>.*)@(?P<checkpoint>[^@+]*)\+v(?P<vocabulary>[^@+]*)")


@dataclass(frozen=True)
class ModelVersion:
    """A model, its words and its settings: predictions of one version show the same boxes.

    Attributes:
        model: the detector's name.
        checkpoint: hex digest of its weights; the first 8 digits count.
        vocabulary: hex digest of the words and their thresholds; likewise.
        size: long side of the network's input, None for the model's own sizes.
        tiles: along the long side, beside the whole picture.
        threshold: of classes without their own.
        nms_iou: above it the weaker of two boxes of a class is removed.
        max_boxes: an image.
    """

    model: str
    checkpoint: str
    vocabulary: str
    size: int | None = None
    tiles: int = 1
    threshold: float = _USUAL_THRESHOLD
    nms_iou: float = _USUAL_NMS_IOU
    max_boxes: int = _USUAL_MAX_BOXES

    def __str__(self) -> str:
        """`detclipv2-nano@01234567+v89abcdef`, then what is not as usual.

        `+s` long side, `+t` tiles, `@` threshold, `+n` overlap, `+m` boxes.
        """
        return (
            f"{NAME}-{self.model}@{self.checkpoint[:8]}+v{self.vocabulary[:8]}"
            + (f"+s{self.size}" if self.size else "")
            + (f"+t{self.tiles}" if self.tiles > 1 else "")
            + (f"@{self.threshold:.6g}" if self.threshold != _USUAL_THRESHOLD else "")
            + (f"+n{self.nms_iou:.6g}" if self.nms_iou != _USUAL_NMS_IOU else "")
            + (f"+m{self.max_boxes}" if self.max_boxes != _USUAL_MAX_BOXES else "")
        )


def is_of_detclipv2(version: str, checkpoint: str | None = None) -> bool:
    """Whether a version is of a DetCLIPv2, and of these weights.

    The name between is not compared: the same weights have another one in another folder.

    Args:
        version: anybody's.
        checkpoint: hex digest of the weights; None for any.
    """
    if checkpoint is None:
        return version.startswith(f"{NAME}-")
    found = _TEXT.match(version)
    return found is not None and found["checkpoint"] == checkpoint[:8]
