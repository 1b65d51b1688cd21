"""Options for what a caller chooses for a detection, the same for every command that detects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast, get_args

from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings, Looks, ServingConfig

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
    "one_name": (
        "--one-name",
        {
            "action": argparse.BooleanOptionalAction,
            "help": "of boxes of different classes at one place keep the best alone",
        },
    ),
    "whole_things": (
        "--whole-things",
        {
            "action": argparse.BooleanOptionalAction,
            "help": "drop parts of a better box of their class, and boxes round it",
        },
    ),
}
"""The flag of each field of `DetectSettings`, and how it is read."""


_LISTS = ServingConfig(list_threshold=0).list_defaults


def add_detection(parser: Any, *names: str, lists: bool = False) -> None:
    """Add the options of these fields of `DetectSettings`; all fields by default.

    Args:
        parser: of the command.
        names: of the fields.
        lists: defaults are those for lists of classes, see `ServingConfig.list_defaults`.
    """
    for name in names or OPTIONS:
        flag, how = OPTIONS[name]
        usual = getattr(_LISTS if lists else DEFAULTS, name)
        if usual is None or (lists and name == "threshold"):
            usual = "the model's own"
        if isinstance(usual, bool):
            usual = "yes" if usual else "no"
        described = f"{how['help']} (default: {usual})"
        parser.add_argument(flag, dest=name, default=None, **{**how, "help": described})


def add_adapted(parser: Any) -> None:
    """Add the option for what a run has learned."""
    parser.add_argument(
        "--adapted",
        type=Path,
        metavar="FILE",
        help="what `learn` found, a file or the run's folder: its classes have learned scores and "
        "thresholds, all others are found by words",
    )


def detection_changes(arguments: argparse.Namespace) -> DetectChanges:
    """The fields that were written; others have their default, or with --resume the run's value.

    Raises:
        ValueError: one out of range.
    """
    written = {name: getattr(arguments, name, None) for name in OPTIONS}
    changes = {name: value for name, value in written.items() if value is not None}
    DetectSettings(**changes)
    return cast("DetectChanges", changes)


def detection_settings(arguments: argparse.Namespace) -> DetectSettings:
    """What was written, and the defaults.

    Raises:
        ValueError: one out of range.
    """
    return DetectSettings(**detection_changes(arguments))
