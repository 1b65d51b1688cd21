"""A model version says which boxes it stands for, and is read back."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from app.runs.model_version import ModelVersion, is_of_detclipv2
from detclipv2.serving import DetectSettings

USUAL = ModelVersion("nano", "01234567" * 8, "89abcdef" * 8)


def test_what_is_usual_is_left_out() -> None:
    assert str(USUAL) == "detclipv2-nano@01234567+v89abcdef"
    settings = DetectSettings(0.25, 0.5, 300, 640, 2, "fast", True, True)
    closely = replace(USUAL, settings=settings)
    assert str(closely) == f"{USUAL}+s640+t2+fast@0.25+n0.5+m300+o+w"


OTHER = DetectSettings(0.9, 0.7, 7, 64, 7, "fast", True, True)


@pytest.mark.parametrize("name", ["model", "checkpoint", "vocabulary"])
def test_every_field_makes_another_version(name: str) -> None:
    assert str(replace(USUAL, **{name: "f" * 64})) != str(USUAL)


@pytest.mark.parametrize("name", [field.name for field in fields(DetectSettings)])
def test_every_setting_makes_another_version(name: str) -> None:
    value = getattr(OTHER, name)
    assert value != getattr(DetectSettings(), name), "choose another value for the test"
    settings = replace(USUAL.settings, **{name: value})
    assert str(replace(USUAL, settings=settings)) != str(USUAL)


def test_weights_are_known_whatever_the_model_is_called() -> None:
    for model in ("nano", "a@b", "a+v1", ""):
        version = str(replace(USUAL, model=model, settings=OTHER))
        assert is_of_detclipv2(version) and is_of_detclipv2(version, USUAL.checkpoint)
        assert not is_of_detclipv2(version, "f" * 64)
    for foreign in ("yolo11x", "", "detclipv2", "my-detclipv2-nano@01234567+v1"):
        assert not is_of_detclipv2(foreign) and not is_of_detclipv2(foreign, USUAL.checkpoint)
