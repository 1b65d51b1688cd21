"""Where commands went: `python -m train.OLD` says the new spelling instead of "no module"."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "train.abstention": "train.evaluation.calibrate_absence",
    "train.average": "train.nano.average",
    "train.calibrate": "train.evaluation.calibrate_scores",
    "train.partner": "train.nano.ensemble",
    "train.pseudo_boxes": "train.nano.pseudo_boxes",
    "train.report": "train.ablations.report",
    "train.ship": "train.nano.release",
    "train.transplant": "train.nano.swap_backbone",
}
"""Commands of version 0.1 that stood in its README."""


class _Moved(MetaPathFinder):
    """Asked last, when nothing else knows a module."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in MOVED:
            raise ModuleNotFoundError(f"{name} is now {MOVED[name]}", name=name)
        return None


def tell_new_names() -> None:
    """Let imports of the old names fail with the new ones."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
