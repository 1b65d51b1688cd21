"""A model version says which boxes it stands for, and is read back."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from app.runs.model_version import ModelVersion, is_of_detclipv2

USUAL = ModelVersion("nano", "01234567" * 8, "89abcdef" * 8)


def test_what_is_usual_is_left_out() -> None:
    assert str(USUAL) == "detclipv2-nano@01234567+v89abcdef"
    closely = replace(USUAL, size=640, tiles=2, threshold=0.25, nms_iou=0.5, max_boxes=300)
    assert str(closely) == f"{USUAL}+s640+t2@0.25+n0.5+m300"


@pytest.mark.parametrize("name", [field.name for field in fields(ModelVersion)])
def test_every_field_makes_another_version(name: str) -> None:
    other = {"model": "other", "checkpoint": "f" * 64, "vocabulary": "f" * 64, "threshold": 0.9}
    changed = replace(USUAL, **{name: other.get(name, 7)})
    assert str(changed) != str(USUAL)


def test_weights_are_known_whatever_the_model_is_called() -> None:
    for model in ("nano", "a@b", "a+v1", ""):
        version = str(replace(USUAL, model=model, tiles=2, threshold=0.1))
        assert is_of_detclipv2(version) and is_of_detclipv2(version, USUAL.checkpoint)
        assert not is_of_detclipv2(version, "f" * 64)
    for foreign in ("yolo11x", "", "detclipv2", "my-detclipv2-nano@01234567+v1"):
        assert not is_of_detclipv2(foreign) and not is_of_detclipv2(foreign, USUAL.checkpoint)
