"""Which boxes a model version stands for: made into a text and read from one here only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detclipv2.serving import DetectSettings

NAME = "detclipv2"
USUAL = DetectSettings(
    threshold=0.3,
    nms_iou=0.6,
    max_boxes=100,
    size=None,
    tiles=1,
    looks="thorough",
    one_name=False,
    whole_things=False,
)
"""Left out of a version, and what a run was made with where its file lacks a field. It is part of
what versions on servers mean, so it never changes, whatever the settings' defaults become; a new
field of the settings gets the value that says "as before"."""
_MARKS = {
    "size": "+s{}",
    "tiles": "+t{}",
    "looks": "+{}",
    "threshold": "@{:.6g}",
    "nms_iou": "+n{:.6g}",
    "max_boxes": "+m{}",
    "one_name": "+o",
    "whole_things": "+w",
}
"""How a version names what is not as usual, in this order."""
_TEXT = re.compile(rf"{NAME}-(?P<model>.*)@(?P<checkpoint>[^@+]*)\+v(?P<vocabulary>[^@+]*)")


@dataclass(frozen=True)
class ModelVersion:
    """A model, its words and its settings: predictions of one version show the same boxes.

    Attributes:
        model: the detector's name.
        checkpoint: hex digest of its weights; the first 8 digits count.
        vocabulary: hex digest of the words and their thresholds; likewise.
        settings: what the detector was asked for.
        learned: hex digest of what the run learned from reviewed photos; likewise. Empty before.
    """

    model: str
    checkpoint: str
    vocabulary: str
    settings: DetectSettings = USUAL
    learned: str = ""

    def __str__(self) -> str:
        """`detclipv2-nano@01234567+v89abcdef`, then what is not as usual.

        `+s` long side, `+t` tiles, `+fast` for one look, `@` threshold, `+n` overlap, `+m` boxes,
        `+o` one name a place, `+w` whole things only,
        `+l` what was learned.
        """
        values = ((mark, getattr(self.settings, name), name) for name, mark in _MARKS.items())
        asked = "".join(
            mark.format(value) for mark, value, name in values if value != getattr(USUAL, name)
        )
        own = f"+l{self.learned[:8]}" if self.learned else ""
        return f"{NAME}-{self.model}@{self.checkpoint[:8]}+v{self.vocabulary[:8]}{asked}{own}"


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
