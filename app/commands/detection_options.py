"""Options for what a caller chooses for a detection, the same for every command that detects."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from detclipv2.serving import DEFAULTS, DetectSettings, Looks

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "threshold": (
        "--threshold",
        {
            "type": float,
            "metavar": "T",
            "help": "lowest score that is kept, 0 to 1; a class's own @T goes first",
        },
    ),
    "nms_iou": (
        "--nms",
        {
            "type": float,
            "metavar": "IOU",
            "help": "of two boxes of one class that overlap more, the weaker is removed",
        },
    ),
    "max_boxes": ("--max-boxes", {"type": int, "metavar": "N", "help": "boxes an image"}),
    "size": (
        "--size",
        {
            "type": int,
            "metavar": "PX",
            "help": "look once, with this long side, a multiple of 32; larger finds smaller things "
            "and takes longer",
        },
    ),
    "tiles": (
        "--tiles",
        {
            "type": int,
            "metavar": "N",
            "help": "look at N overlapping tiles along the long side as well, for small things; 2 "
            "are about 4 looks more",
        },
    ),
    "looks": (
        "--looks",
        {
            "choices": get_args(Looks),
            "help": "fast: look once at a photo; thorough: take all looks of the model, which may "
            "be several",
        },
    ),
}
"""The flag of each field of `DetectSettings`, and how it is read."""


def add_detection(parser: Any, *names: str) -> None:
    """Add the options of these fields of `DetectSettings`; all fields by default."""
    for name in names or OPTIONS:
        flag, how = OPTIONS[name]
        usual = getattr(DEFAULTS, name)
        usual = "the model's own" if usual is None else usual
        described = f"{how['help']} (default: {usual})"
        parser.add_argument(flag, dest=name, **{**how, "help": described})


def detection_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields that were written; others have their default, or with --resume the run's value."""
    written = {name: getattr(arguments, name, None) for name in OPTIONS}
    return {name: value for name, value in written.items() if value is not None}


def detection_settings(arguments: argparse.Namespace) -> DetectSettings:
    """What was written, and the defaults.

    Raises:
        ValueError: one out of range.
    """
    return DetectSettings(**detection_changes(arguments))
