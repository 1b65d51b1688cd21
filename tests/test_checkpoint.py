from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from detclipv2 import PRESETS
from detclipv2.checkpoint import CheckpointError, inspect, load, verify
from detclipv2.model import DetCLIPv2


def test_a_saved_model_answers_the_same(tiny_model: DetCLIPv2, tiny_checkpoint: Path) -> None:
    again = DetCLIPv2.from_pretrained(tiny_checkpoint)
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
    model.text.load_pretrained()
    model.save_pretrained(tmp_path, {"data": ["none"]})
    assert (tmp_path / "model.safetensors").stat().st_size < 20e6
    again = DetCLIPv2.from_pretrained(tmp_path)
    texts = ["a photo of a cat", "a photo of a dog"]
    with torch.no_grad():
        torch.testing.assert_close(
            again.encode_text(texts), model.eval().encode_text(texts), rtol=1e-3, atol=1e-3
        )
    assert inspect(tmp_path)["card"]["data"] == ["none"]


def test_an_unknown_name_tells_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=r"'colossal'.*embedded"):
        load("colossal")


@pytest.fixture
def copy(tiny_model: DetCLIPv2, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "copy")
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
        load(copy)


def test_a_config_that_does_not_fit_its_weights_is_named(copy: Path) -> None:
    config = dataclasses.replace(PRESETS["tiny"], deformable=False)
    (copy / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(CheckpointError, match="does not fit"):
        load(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no model configuration"):
        load(copy)
    (copy / "config.json").write_text("not json")
    with pytest.raises(CheckpointError, match="cannot read"):
        load(copy)


def test_weights_of_another_shape_are_named(copy: Path) -> None:
    weights = load_file(str(copy / "model.safetensors"))
    weights["head.box.weight"] = weights["head.box.weight"][:3].contiguous()
    save_file(weights, str(copy / "model.safetensors"))
    (copy / "card.json").write_text("{}")  # no digest
    with pytest.raises(CheckpointError, match=r"'head.box.weight' has shape \(3, "):
        load(copy)


def test_names_of_before_they_were_fitted_are_projected_once(tmp_path: Path) -> None:
    model = load("nano")
    model.save_pretrained(tmp_path)
    weights = load_file(str(tmp_path / "model.safetensors"))
    pooled = torch.randn(1000, model.config.text.width)
    save_file({**weights, "knowledge.names": pooled}, str(tmp_path / "model.safetensors"))
    (tmp_path / "card.json").write_text("{}")  # no digest
    again = load(tmp_path)
    assert again.knowledge is not None
    with torch.no_grad():
        wanted = model.text.project(pooled)
    torch.testing.assert_close(again.knowledge.names, wanted - wanted.mean(0), rtol=1e-3, atol=1e-4)
