"""An ensemble of two image towers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.fingerprint import fingerprint
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.tower import NanoTower, build, nano_config
from train.initial_model import blocks_of, trained_view
from train.loop.optim import OptimConfig, parameter_groups
from train.nano import ensemble as command
from train.nano.average import average
from train.nano.ensemble import ensemble
from train.nano.swap_backbone import transplant
from train.nano.widen import widen

TEXTS = ["a photo of a cat", "a photo of a man in a red shirt", "a photo of a tin opener"]


def _detector(seed: int, width: int, projection: torch.Tensor) -> DetCLIPv2:
    """A small detector, whose shortcut says something, with a frozen text tower."""
    torch.manual_seed(seed)
    nano, tiny = PRESETS["nano"], PRESETS["tiny"]
    config = dataclasses.replace(
        tiny, similarity="dot", quality=True, width=width, text=nano.text, initial_scale=1.0 + seed
    )
    model = build(config, NanoConfig(shortcut=True)).eval()
    model.text_encoder.load_pretrained()
    assert isinstance(model.image_tower, NanoTower) and model.image_tower.shortcut is not None
    with torch.no_grad():
        for conv in (model.image_tower.head.embedding, *model.image_tower.shortcut.maps):
            torch.nn.init.normal_(conv.weight, std=0.3)  # type: ignore[arg-type]
        model.text_encoder.projection.weight.copy_(projection)
        model.bias.fill_(-float(seed))
    return model


def second(pair: DetCLIPv2) -> NanoTower:
    """The second tower of an ensemble."""
    tower = pair.image_tower
    assert isinstance(tower, NanoTower) and tower.second is not None
    return tower.second


@pytest.fixture(scope="module")
def projection() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.linalg.qr(torch.randn(384, 32, generator=generator))[0].T.contiguous()


@pytest.fixture(scope="module")
def model(projection: torch.Tensor) -> DetCLIPv2:
    return _detector(0, 32, projection)


@pytest.fixture(scope="module")
def other(projection: torch.Tensor) -> DetCLIPv2:
    """It understands texts by a turned projection: another language, but the same embeddingss."""
    generator = torch.Generator().manual_seed(6)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
    return _detector(1, 48, turn @ projection)


@pytest.fixture
def pair(model: DetCLIPv2, other: DetCLIPv2) -> DetCLIPv2:
    return ensemble(model, other)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("embeddings", "boxes"), [(0.5, 0.5), (0.3, 0.8)])
@torch.no_grad()
def test_what_counts_is_the_mean_of_what_both_say(
    model: DetCLIPv2, other: DetCLIPv2, pixels: torch.Tensor, embeddings: float, boxes: float
) -> None:
    pair = ensemble(model, other, embeddings, boxes)
    assert fingerprint(pair) != fingerprint(ensemble(model, other, embeddings, 0.6))
    together, *apart = (m.encode_image(pixels) for m in (pair, model, other))
    said, *own = (
        m.similarity(r.embeddings, m.encode_text(TEXTS))
        for m, r in zip((pair, model, other), (together, *apart), strict=True)
    )
    torch.testing.assert_close(said, own[0].lerp(own[1], embeddings), atol=0.02, rtol=1e-2)
    for name in ("centerness", "foreground", "iou"):
        one, two = (getattr(regions, name) for regions in apart)
        torch.testing.assert_close(getattr(together, name), one.lerp(two, boxes))
    # Sides are averaged as logarithms, middles as they are.
    middles = [(r.boxes[..., :2] + r.boxes[..., 2:]) / 2 for r in (together, *apart)]
    sides = [(r.boxes[..., 2:] - r.boxes[..., :2]).log() for r in (together, *apart)]
    for whole, one, two in (middles, sides):
        torch.testing.assert_close(whole, one.lerp(two, boxes), atol=1e-2, rtol=1e-3)
    assert not torch.allclose(apart[0].centerness, apart[1].centerness, atol=1e-3)


def test_folded_it_says_the_same_and_shares_its_heads(
    pair: DetCLIPv2, pixels: torch.Tensor
) -> None:
    fast = pair.for_inference()
    assert second(fast).head is second(pair).head
    assert second(fast).backbone is not second(pair).backbone
    with torch.no_grad():
        given, wanted = fast.encode_image(pixels), pair.encode_image(pixels)
    torch.testing.assert_close(given.boxes, wanted.boxes, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(given.embeddings, wanted.embeddings, atol=1e-3, rtol=1e-3)


def test_both_are_trained_and_their_backbones_at_the_backbones_rate(
    pair: DetCLIPv2, pixels: torch.Tensor
) -> None:
    groups = parameter_groups(pair, OptimConfig(lr=1e-3, backbone=0.25, text=0.5))
    rates = {id(p): g["peak"] for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    for tower in (pair.image_tower, second(pair)):
        assert {rates[id(p)] for p in tower.backbone.parameters()} == {2.5e-4}
        assert {rates[id(p)] for p in tower.head.parameters()} == {1e-3}
    assert len(blocks_of(pair)) > len(pair.image_tower.backbone.stages) + len(
        second(pair).backbone.stages
    )
    assert trained_view(pair) is pair
    pair.image_tower.backbone.freeze(len(pair.image_tower.backbone.stages) - 1)
    assert trained_view(pair) is pair  # the second one's learns
    second(pair).backbone.freeze(len(second(pair).backbone.stages) - 1)
    seen = trained_view(pair)
    assert seen is not pair
    regions = seen.encode_image(pixels)
    (regions.embeddings.square().sum() + regions.boxes.sum()).backward()  # type: ignore[no-untyped-call]
    for head in (pair.image_tower.head, second(pair).head):
        assert head.box.weight.grad is not None and head.box.weight.grad.abs().sum() > 0
    assert all(
        p.grad is None for backbone in pair.image_tower.backbones for p in backbone.parameters()
    )


def test_the_command_writes_a_checkpoint_that_names_both(
    model: DetCLIPv2, other: DetCLIPv2, pair: DetCLIPv2, tmp_path: Path, pixels: torch.Tensor
) -> None:
    save_checkpoint(model, tmp_path / "one", {"note": "first"})
    save_checkpoint(other, tmp_path / "other", {"note": "second"})
    folders = [str(tmp_path / name) for name in ("one", "other", "both")]
    command.main(folders)
    card = inspect(folders[2])["card"]
    assert card["note"] == "first" and card["second_tower"] == {"note": "second"}
    again = load_checkpoint(folders[2])
    assert again.config == pair.config and nano_config(again) == nano_config(pair)
    with torch.no_grad():
        given, wanted = again.encode_image(pixels), pair.encode_image(pixels)
    torch.testing.assert_close(given.centerness, wanted.centerness, rtol=5e-3, atol=5e-2)


def test_what_does_not_fit_is_refused(
    model: DetCLIPv2, other: DetCLIPv2, pair: DetCLIPv2, tmp_path: Path
) -> None:
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(
            ValueError, match=f"second.boxes is a share between 0 and 1, got {share}"
        ):
            ensemble(model, other, boxes=share)
    with pytest.raises(ValueError, match="has a second tower already"):
        ensemble(pair, other)
    deeper = DetCLIPv2(dataclasses.replace(other.config, tower_depth=2))
    with pytest.raises(ValueError, match="differ in more than backbone and width"):
        ensemble(model, deeper)
    stranger = _detector(2, 32, torch.randn(32, 384, generator=torch.Generator().manual_seed(9)))
    with pytest.raises(ValueError, match="cannot be told from"):
        ensemble(model, stranger)
    with pytest.raises(ValueError, match="configured otherwise"):
        average([model, pair])
    with pytest.raises(ValueError, match="has a second tower; give the detector"):
        transplant(pair, "test_efficientnet", [])
    with pytest.raises(ValueError, match="has a second tower; give the detector"):
        widen(pair, 64)
    with pytest.raises(SystemExit, match="no checkpoint"):
        command.main([str(tmp_path / "nowhere"), "nano", str(tmp_path / "out")])
