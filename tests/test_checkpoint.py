from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from detclipv2 import PRESETS
from detclipv2.checkpoint import (
    FORMAT,
    CheckpointError,
    inspect,
    load_checkpoint,
    read_config,
    save_checkpoint,
    verify,
)
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NANO, NanoConfig, SecondTowerConfig
from detclipv2.nano.tower import build, nano_config
from detclipv2.serving import SERVING, ServingConfig


def test_a_saved_model_answers_the_same(tiny_model: DetCLIPv2, tiny_checkpoint: Path) -> None:
    again = load_checkpoint(tiny_checkpoint)
    assert again.config == tiny_model.config and not again.training
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for one, other in zip(
            (again.encode_image(pixels).boxes, again.encode_text(["cat"])),
            (tiny_model.encode_image(pixels).boxes, tiny_model.encode_text(["cat"])),
            strict=True,
        ):
            # Matrices are stored in half precision.
            torch.testing.assert_close(one, other, rtol=5e-3, atol=5e-2)


def test_a_frozen_text_tower_is_not_stored_but_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["nano"])
    model.text_encoder.load_pretrained()
    save_checkpoint(model, tmp_path, {"data": ["none"]})
    assert (tmp_path / "model.safetensors").stat().st_size < 20e6
    again = load_checkpoint(tmp_path)
    texts = ["a photo of a cat", "a photo of a dog"]
    with torch.no_grad():
        torch.testing.assert_close(
            again.encode_text(texts), model.eval().encode_text(texts), rtol=1e-3, atol=1e-3
        )
    assert inspect(tmp_path)["card"]["data"] == ["none"]


def test_an_unknown_name_tells_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=r"'colossal'.*embedded"):
        load_checkpoint("colossal")


@pytest.fixture
def copy(tiny_model: DetCLIPv2, tmp_path: Path) -> Path:
    save_checkpoint(tiny_model, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_damaged_file_is_noticed(copy: Path) -> None:
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        verify(copy)


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_checkpoint(copy)


def test_a_config_that_does_not_fit_its_weights_is_named(copy: Path) -> None:
    stored = json.loads((copy / "config.json").read_text())
    config = {**stored, "model": {**stored["model"], "deformable": False}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no model configuration"):
        load_checkpoint(copy)
    newer = {**stored, "format": 3}
    (copy / "config.json").write_text(json.dumps(newer))
    with pytest.raises(CheckpointError, match="format 3 is of a newer version"):
        load_checkpoint(copy)
    unfit = {**stored, "serving": {**stored["serving"], "ranking": "iou"}}
    (copy / "config.json").write_text(json.dumps(unfit))
    with pytest.raises(CheckpointError, match=r"ranking 'iou' needs model\.quality"):
        load_checkpoint(copy)
    (copy / "config.json").write_text("not json")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(copy)


def test_weights_of_another_shape_are_named(copy: Path) -> None:
    weights = load_file(str(copy / "model.safetensors"))
    name = "image_tower.head.box.weight"
    weights[name] = weights[name][:3].contiguous()
    save_file(weights, str(copy / "model.safetensors"))
    (copy / "card.json").write_text("{}")  # no digest
    with pytest.raises(CheckpointError, match=r"'image_tower.head.box.weight' has shape \(3, "):
        load_checkpoint(copy)


def test_the_embedded_checkpoint_has_the_presets_shape() -> None:
    config, serving, nano = read_config("nano")
    assert config == PRESETS["nano"] and nano == NANO
    assert (serving.size, serving.least) == (SERVING["nano"].size, SERVING["nano"].least)


def test_what_is_beyond_the_paper_and_the_way_of_use_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["tiny"], similarity="dot", quality=True)
    nano = NanoConfig(shortcut=True, second=SecondTowerConfig(config.backbone, 48, boxes=0.3))
    serving = ServingConfig(size=128, half=0.25, ranking="both", score_bias=0.5, soft_nms=0.4)
    model = build(config, nano, serving).eval()
    save_checkpoint(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["format"] == FORMAT
    assert read_config(tmp_path) == (config, serving, nano)
    again = load_checkpoint(tmp_path)
    assert (again.config, again.serving, nano_config(again)) == (config, serving, nano)
    assert again.state_dict().keys() == model.state_dict().keys()


def test_the_old_spelling_tells_the_new_one() -> None:
    with pytest.raises(AttributeError, match=r"checkpoint\.load_checkpoint\('nano'\)"):
        getattr(DetCLIPv2, "from_pretrained")("nano")  # noqa: B009 - mypy would see it never returns
