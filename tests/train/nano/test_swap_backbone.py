"""Neck and head on another backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.tower import NanoTower, build
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from train.nano import swap_backbone
from train.nano.prior import changed_tensors, imagenet_backbone
from train.nano.swap_backbone import Fit

LITE2 = "tf_efficientnet_lite2"


@pytest.fixture(scope="module")
def trained() -> DetCLIPv2:
    """A nano with a shortcut that says something."""
    torch.manual_seed(0)
    narrow = dataclasses.replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96)
    model = build(narrow, NanoConfig(shortcut=True)).eval()
    load_imagenet(model.image_tower.backbone, imagenet_weights(model.config.backbone, "package"))
    assert isinstance(model.image_tower, NanoTower) and model.image_tower.shortcut is not None
    for conv in model.image_tower.shortcut.maps:
        torch.nn.init.normal_(conv.weight, std=0.1)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def batches() -> Sequence[Tensor]:
    """Smooth noise, a little like photos."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(6, 4, 3, 12, 12, generator=generator)
    photos = [torch.nn.functional.interpolate(s, size=160, mode="bicubic") for s in small]
    return [(255 * p.clamp(0, 1)).byte().permute(0, 2, 3, 1) for p in photos]


def test_fit_finds_a_linear_map_with_its_offset() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, offset = torch.randn(3, 5, generator=generator), torch.tensor([1.0, -2.0, 0.0])
    fit = Fit(5, 3)
    for _ in range(4):
        given = torch.randn(2, 5, 4, 4, generator=generator)
        fit.add(given, torch.einsum("oi,bihw->bohw", weight, given) + offset[:, None, None])
    found, shift, unexplained = fit.solve()
    torch.testing.assert_close(found.float(), weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(shift.float(), offset, atol=1e-3, rtol=1e-3)
    assert 0 <= unexplained < 1e-4
    noise = Fit(5, 3)
    noise.add(
        torch.randn(64, 5, 4, 4, generator=generator), torch.randn(64, 3, 4, 4, generator=generator)
    )
    assert noise.solve()[2] > 0.9
    with pytest.raises(ValueError, match="nothing to fit"):
        Fit(5, 3).solve()


def test_onto_the_same_backbone_everything_stays(
    trained: DetCLIPv2, batches: Sequence[Tensor]
) -> None:
    grown, unexplained = swap_backbone.transplant(trained, trained.config.backbone, batches)
    assert set(unexplained) == {"lateral 0", "lateral 1", "lateral 2", "shortcut 1", "shortcut 2"}
    assert max(unexplained.values()) < 0.05
    pixels = swap_backbone.normalise(batches[0], trained.config.image)
    before, after = trained.encode_image(pixels), grown.encode_image(pixels)
    missed = (after.embeddings - before.embeddings).square().mean()
    assert missed < 0.05 * before.embeddings.var()


def test_onto_another_backbone_more_stays_than_by_chance(
    trained: DetCLIPv2, batches: Sequence[Tensor]
) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    grown, unexplained = swap_backbone.transplant(trained, LITE2, batches)
    assert all(torch.equal(t, trained.state_dict()[n]) for n, t in before.items())
    assert not changed_tensors(grown.image_tower.backbone, imagenet_backbone(LITE2))
    assert grown.config.backbone == LITE2 and max(unexplained.values()) < 0.9
    assert torch.equal(grown.image_tower.head.box.weight, trained.image_tower.head.box.weight)
    pixels = swap_backbone.normalise(batches[0], trained.config.image)
    wanted, given = trained.encode_image(pixels).embeddings, grown.encode_image(pixels).embeddings
    assert (given - wanted).square().mean() < 0.7 * wanted.var(dim=(0, 1)).mean()


def test_the_command_writes_a_checkpoint_to_begin_with(
    trained: DetCLIPv2, ov_mini: Path, tmp_path: Path
) -> None:
    save_checkpoint(trained, tmp_path / "narrow", {"digest_sha256": "x", "terms": "research"})
    out = tmp_path / "wide"
    swap_backbone.main(
        f"{tmp_path / 'narrow'} {LITE2} {out} --root {ov_mini} --steps 2 --width 128".split()
    )
    card = inspect(out)["card"]
    assert card == {"terms": "research", "weights_sha256": card["weights_sha256"]}
    made = load_checkpoint(out)
    assert (made.config.backbone, made.config.width) == (LITE2, 128)
