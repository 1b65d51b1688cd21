"""What a caller chooses has one home, and every place that names its fields knows all of them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from app.commands.detection_options import OPTIONS
from app.runs.records import ImageRef
from app.runs.settings import RunSettings
from app.runs.store import Run
from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings, Looks, ServingConfig

NAMES = [field.name for field in fields(DetectSettings)]
OTHER = DetectSettings(0.9, 0.7, 7, 64, 7, "fast", True, True)


def test_changes_and_options_name_every_field() -> None:
    assert get_type_hints(DetectChanges) == get_type_hints(DetectSettings)
    assert list(OPTIONS) == NAMES
    assert not set(asdict(OTHER).items()) & set(asdict(DEFAULTS).items()), "choose others"


def test_a_run_keeps_every_field(tmp_path: Path) -> None:
    settings = RunSettings("tiny", "0" * 64, "cat", OTHER)
    Run.create(tmp_path / "run", settings, [ImageRef("a.jpg", "a.jpg")]).close()
    assert Run(tmp_path / "run").settings == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.5}, "threshold must lie in 0..1, got 1.5"),
        ({"nms_iou": float("nan")}, "nms_iou must lie in 0..1"),
        ({"max_boxes": 0}, "max_boxes must be at least 1"),
        ({"size": 100}, "size .* got 100; try 96"),
        ({"tiles": True}, "tiles must lie in 1..8"),
        ({"looks": "often"}, "looks must be one of"),
        ({"one_name": 1}, "one_name must be True or False, got 1"),
    ],
)
def test_what_is_out_of_range_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DEFAULTS, **changes)  # type: ignore[arg-type]


def test_the_looks_that_are_taken() -> None:
    serving = ServingConfig(size=128, half=0.25, second=256)
    sides = {looks: serving.sides_for(DetectSettings(looks=looks)) for looks in get_args(Looks)}
    assert sides == {"fast": (128,), "thorough": (128, 64, 256)}
    assert serving.sides_for(DetectSettings(size=96)) == (96,)
