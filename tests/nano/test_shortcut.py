"""The shortcut from C4 and C5 to the region embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.config import PRESETS
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.shortcut import Shortcut
from detclipv2.nano.tower import NanoTower, build

SIZES = [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]


def _maps() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 6, 6, 10), torch.randn(2, 8, 3, 5)]


def test_it_is_a_linear_map_of_the_resized_features() -> None:
    maps, shortcut = _maps(), Shortcut((6, 8), 4)
    for conv in shortcut.maps:
        torch.nn.init.normal_(conv.weight)  # type: ignore[arg-type]
    added = shortcut(maps, SIZES)
    assert added.shape == (2, sum(h * w for h, w in SIZES), 4)
    first = 0
    for size in SIZES:
        expected = torch.zeros(2, size[0] * size[1], 4)
        for feature, conv in zip(maps, shortcut.maps, strict=True):
            finer = size[0] > feature.shape[-2]
            resized = (
                F.interpolate(feature, size, mode="bilinear")
                if finer
                else F.adaptive_avg_pool2d(feature, size)
            )
            weight = conv.weight[:, :, 0, 0]  # type: ignore[index]
            expected += resized.flatten(2).transpose(1, 2) @ weight.T
        level = added[:, first : first + size[0] * size[1]]
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-5)
        first += size[0] * size[1]


def test_a_batch_equals_its_photos_one_by_one() -> None:
    maps, shortcut = _maps(), Shortcut((6, 8), 4)
    for conv in shortcut.maps:
        torch.nn.init.normal_(conv.weight)  # type: ignore[arg-type]
    together = shortcut(maps, SIZES)
    for index in range(2):
        alone = shortcut([m[index : index + 1] for m in maps], SIZES)
        torch.testing.assert_close(alone[0], together[index])


def test_a_model_with_it_begins_as_without_and_learns_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = DetCLIPv2(PRESETS["nano"]).eval()
    model = build(PRESETS["nano"], NanoConfig(shortcut=True)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    pixels = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        before = plain.encode_image(pixels).embeddings
        torch.testing.assert_close(model.encode_image(pixels).embeddings, before)
    model.encode_image(pixels).embeddings.square().sum().backward()
    assert isinstance(model.image_tower, NanoTower) and model.image_tower.shortcut is not None
    for conv in model.image_tower.shortcut.maps:
        gradient = conv.weight.grad
        assert isinstance(gradient, torch.Tensor) and bool(gradient.isfinite().all())
        assert float(gradient.abs().sum()) > 0
        torch.nn.init.normal_(conv.weight, std=0.1)  # type: ignore[arg-type]
    save_checkpoint(model, tmp_path / "saved")
    again = load_checkpoint(tmp_path / "saved")
    with torch.no_grad():
        after = model.encode_image(pixels).embeddings
        stored = again.encode_image(pixels).embeddings
    changed = float((after - before).abs().max())
    assert changed > 1
    assert float((stored - after).abs().max()) < 0.05 * changed  # half precision


def test_it_needs_embeddings_that_add_up() -> None:
    with pytest.raises(ValueError, match="shortcut"):
        build(PRESETS["tiny"], NanoConfig(shortcut=True))
