"""What changes a box changes the fingerprint, whichever field it is."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint_v1 import fingerprint_v1
from detclipv2.config import ModelConfig
from detclipv2.fingerprint import UNSEEN, canonical, fingerprint
from detclipv2.inference.predictor import Predictor
from detclipv2.language.text_cache import text_fingerprint
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig, SecondTowerConfig
from detclipv2.nano.tower import NanoTower, build
from detclipv2.serving import ServingConfig

ROOTS = {"model": ModelConfig, "serving": ServingConfig, "nano": NanoConfig}


def leaves(kind: Any, prefix: str) -> list[str]:
    """Dotted names of all fields, down through the dataclasses."""
    hints = get_type_hints(kind)
    found = []
    for field in fields(kind):
        inner = [k for k in (hints[field.name], *getattr(hints[field.name], "__args__", ()))]
        nested = next((k for k in inner if isinstance(k, type) and is_dataclass(k)), None)
        name = f"{prefix}.{field.name}"
        found += leaves(nested, name) if nested else [name]
    return found


def whole() -> DetCLIPv2:
    """A model with a value in every field."""
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], similarity="dot", quality=True)
    nano = NanoConfig(shortcut=True, second=SecondTowerConfig(config.backbone, 48))
    return build(config, nano, ServingConfig(size=64)).eval()


def test_every_field_is_in_it_or_named_as_unseen() -> None:
    every = {name for root, kind in ROOTS.items() for name in leaves(kind, root)}
    assert every >= UNSEEN
    assert set(json.loads(canonical(whole()))) == every - UNSEEN


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("serving", {"size": 96}),
        ("serving", {"ranking": "iou"}),
        ("serving", {"score_bias": 0.5}),
        ("serving", {"soft_nms": 0.5}),
        ("config", {"anchor_scale": 4.0}),
        ("config", {"deform_min_level": 2}),
        ("config", {"similarity": "cosine"}),
        ("config", {"image": replace(PRESETS["tiny"].image, mean=(0.1, 0.2, 0.3))}),
        ("config", {"text": replace(PRESETS["tiny"].text, template="the {}")}),
    ],
)
def test_settings_are_followed(part: str, change: dict[str, Any]) -> None:
    model = whole()
    before = fingerprint(model)
    setattr(model, part, replace(getattr(model, part), **change))
    assert fingerprint(model) != before


def test_weights_are_followed_and_names_are_not() -> None:
    model = whole()
    before, text = fingerprint(model), text_fingerprint(model)
    model.config = replace(model.config, name="other", drop_path=0.5)
    assert isinstance(model.image_tower, NanoTower)
    model.image_tower.nano = replace(model.image_tower.nano, int8=True)
    assert fingerprint(model) == before
    with torch.no_grad():
        model.bias.add_(1)
    assert fingerprint(model) != before and text_fingerprint(model) == text
    with torch.no_grad():
        model.text_encoder.projection.weight.add_(1)
    assert text_fingerprint(model) != text


def test_runs_of_version_0_1_know_their_checkpoint(tmp_path: Path) -> None:
    stored = json.loads((Path(__file__).parent / "golden/before/run/run.json").read_text())
    from detclipv2.checkpoint import load_checkpoint

    predictor = Predictor(load_checkpoint("nano"), cache_dir=tmp_path)
    assert fingerprint_v1(predictor.model) == stored["checkpoint"]
    assert predictor.fingerprints == (predictor.fingerprint, stored["checkpoint"])
    assert predictor.fingerprint != stored["checkpoint"]
