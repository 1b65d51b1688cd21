"""Matrices in eight bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.nano.int8_weights import pack, unpack
from detclipv2.nano.tower import NanoTower, nano_config
from train.nano.prior import changed_tensors, imagenet_backbone


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    loud = torch.randn(256, 512, 1, 1) * torch.logspace(-3, 2, 256)[:, None, None, None]
    loud[7] = 0
    return {
        "image_tower.backbone.large": loud,
        "image_tower.second.backbone.large": loud.half(),
        "image_tower.backbone.depthwise": torch.randn(64, 1, 5, 5),
        "image_tower.backbone.small": torch.randn(256, 511, 1, 1),
        "image_tower.backbone.bias": torch.randn(64),
        "image_tower.head.large": torch.randn(256, 512, 1, 1),
    }


def test_a_weight_is_off_by_half_a_step_at_most(tensors: dict[str, torch.Tensor]) -> None:
    packed = pack(tensors)
    assert packed["image_tower.backbone.large"].dtype == torch.int8
    again = unpack(packed)
    assert again.keys() == tensors.keys()
    for name in ("image_tower.backbone.large", "image_tower.second.backbone.large"):
        before = tensors[name].float()
        step = before.abs().amax(dim=1, keepdim=True) / 127
        assert ((again[name] - before).abs() <= 0.5001 * step).all()
        assert not torch.equal(again[name], before)
        assert torch.equal(again[name][7], torch.zeros(512, 1, 1))
    for name in tensors.keys() - {
        "image_tower.backbone.large",
        "image_tower.second.backbone.large",
    }:
        assert torch.equal(again[name], tensors[name]), name


def test_packing_again_changes_nothing(tensors: dict[str, torch.Tensor]) -> None:
    once = unpack(pack(tensors))
    twice = unpack(pack(once))
    for name, tensor in once.items():
        torch.testing.assert_close(twice[name], tensor, rtol=1e-6, atol=0)
    assert all(torch.equal(unpack(tensors)[name], tensor) for name, tensor in tensors.items())


def test_a_compact_checkpoint_is_smaller_and_answers_about_the_same(tmp_path: Path) -> None:
    model = load_checkpoint("nano")
    sizes, heard = [], []
    pixels = torch.nn.functional.interpolate(
        torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1, size=192
    )
    for compact in (False, True):
        assert isinstance(model.image_tower, NanoTower)
        model.image_tower.nano = dataclasses.replace(model.image_tower.nano, int8=compact)
        save_checkpoint(model, tmp_path / str(compact))
        sizes.append((tmp_path / str(compact) / "model.safetensors").stat().st_size)
        again = load_checkpoint(tmp_path / str(compact))
        nano = nano_config(again)
        assert nano is not None and nano.int8 is compact
        with torch.no_grad():
            heard.append(again.encode_image(pixels).centerness)
    assert sizes[1] < 0.9 * sizes[0]
    assert torch.corrcoef(torch.stack([h.flatten() for h in heard]))[0, 1] > 0.99
    # Rounding is no training: the classifier still fits.
    backbone = load_checkpoint(tmp_path / "True").image_tower.backbone
    original = imagenet_backbone(model.config.backbone)
    assert not changed_tensors(backbone, original)
    with torch.no_grad():
        backbone.net.conv_stem.weight[0, 0] += 0.1 * backbone.net.conv_stem.weight.abs().max()
    assert changed_tensors(backbone, original) == ["net.conv_stem.weight"]
