from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.tower import NanoTower, build
from detclipv2.serving import ServingConfig
from train.nano import average


def _checkpoint(folder: Path, seed: int, width: int = 0) -> str:
    torch.manual_seed(seed)
    config = PRESETS["tiny"]
    model = DetCLIPv2(dataclasses.replace(config, width=width or config.width))
    save_checkpoint(model, folder, {"steps": seed})
    return str(folder)


def test_every_weight_is_the_mean_and_the_card_the_last_ones(tmp_path: Path) -> None:
    sources = [_checkpoint(tmp_path / str(seed), seed) for seed in (1, 2, 3)]
    average.main([*sources, str(tmp_path / "middle")])
    states = [load_checkpoint(source).state_dict() for source in sources]
    middle = load_checkpoint(tmp_path / "middle").state_dict()
    for name, tensor in middle.items():
        if tensor.is_floating_point():
            mean = sum(state[name] for state in states) / 3
            torch.testing.assert_close(tensor, mean, rtol=2e-3, atol=2e-3)  # half precision
    card = inspect(tmp_path / "middle")["card"]
    assert card["steps"] == 3 and card["average_of"] == 3
    assert not torch.equal(
        middle["image_tower.head.box.weight"], states[0]["image_tower.head.box.weight"]
    )


def test_what_only_the_first_has_is_its_own(tmp_path: Path) -> None:
    torch.manual_seed(4)
    config = dataclasses.replace(PRESETS["tiny"], quality=True)
    serving = ServingConfig(size=96, ranking="both")
    first = DetCLIPv2(config, serving=serving)
    save_checkpoint(first, tmp_path / "first")
    other = _checkpoint(tmp_path / "other", 1)
    average.main([str(tmp_path / "first"), other, str(tmp_path / "out")])
    middle, plain = (load_checkpoint(p) for p in (tmp_path / "out", other))
    assert middle.config == config and middle.serving == serving
    states = [model.state_dict() for model in (middle, first, plain)]
    branch, shared = "image_tower.head.quality.weight", "image_tower.head.box.weight"
    torch.testing.assert_close(states[0][branch], states[1][branch], rtol=2e-3, atol=2e-3)
    mean = (states[1][shared] + states[2][shared]) / 2
    torch.testing.assert_close(states[0][shared], mean, rtol=2e-3, atol=2e-3)


def test_a_shortcut_that_others_lack_counts_as_zero_there(tmp_path: Path) -> None:
    torch.manual_seed(5)
    config = dataclasses.replace(PRESETS["tiny"], similarity="dot")
    plain = DetCLIPv2(config)
    first = build(config, NanoConfig(shortcut=True))
    assert isinstance(first.image_tower, NanoTower) and first.image_tower.shortcut is not None
    for conv in first.image_tower.shortcut.maps:
        torch.nn.init.normal_(conv.weight)  # type: ignore[arg-type]
    middle = average.average([first, plain])
    tower = middle.image_tower
    assert isinstance(tower, NanoTower) and tower.shortcut is not None
    for own, half in zip(first.image_tower.shortcut.maps, tower.shortcut.maps, strict=True):
        torch.testing.assert_close(half.weight, own.weight / 2)


def test_other_configurations_and_single_checkpoints_are_refused(tmp_path: Path) -> None:
    one, wide = _checkpoint(tmp_path / "one", 1), _checkpoint(tmp_path / "wide", 2, width=64)
    with pytest.raises(SystemExit, match="configured otherwise"):
        average.main([one, wide, str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="at least two"):
        average.main([one, str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="nowhere"):
        average.main([one, str(tmp_path / "nowhere"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_parts_weigh_the_mean() -> None:
    torch.manual_seed(6)
    first, other = (DetCLIPv2(PRESETS["tiny"]) for _ in range(2))
    mixed = average.average([first, other], [3, 1]).state_dict()
    for name, tensor in mixed.items():
        if tensor.is_floating_point():
            own, strange = first.state_dict()[name], other.state_dict()[name]
            torch.testing.assert_close(tensor, 0.75 * own + 0.25 * strange)
    with pytest.raises(ValueError, match="1 parts for 2 models"):
        average.average([first, other], [1])
