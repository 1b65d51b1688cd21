"""Rates, groups of parameters and the moving average."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from train.loop.optim import MovingAverage, OptimConfig, parameter_groups, schedule


def test_schedule_warms_up_then_falls_to_the_floor() -> None:
    config = OptimConfig(warmup=10, floor=0.1)
    values = [schedule(step, 110, config) for step in range(110)]
    assert values[0] == pytest.approx(0.1) and values[9] == pytest.approx(1)
    assert values[60] == pytest.approx(0.55) and values[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in pairwise(values[10:]))


def test_groups_give_backbone_and_text_their_rate_and_spare_norms_the_decay() -> None:
    model = DetCLIPv2(PRESETS["tiny"])
    groups = parameter_groups(model, OptimConfig(lr=1.0, backbone=0.5, text=0.1))
    where = {id(p): g for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    rates = {
        model.image_tower.head.box.weight: (1.0, 0.05),
        model.image_tower.head.box.bias: (1.0, 0.0),
        model.image_tower.backbone.net.conv_stem.weight: (0.5, 0.05),
        model.text_encoder.projection.weight: (0.1, 0.05),
        model.log_scale: (1.0, 0.0),
    }
    for parameter, (rate, decay) in rates.items():
        group = where[id(parameter)]
        assert (group["lr"], group["weight_decay"]) == (rate, decay)
    assert len(where) == len(list(model.parameters()))


def test_swins_tables_of_positions_do_not_decay() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224")
    for group in parameter_groups(backbone, OptimConfig()):
        decaying = {id(p) for p in group["params"]} if group["weight_decay"] else set()  # type: ignore[attr-defined]
        for name, parameter in backbone.named_parameters():
            assert id(parameter) not in decaying or "relative_position" not in name


def test_the_moving_average_is_the_recursion_and_swap_is_its_own_inverse() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    average = MovingAverage(layer, 0.5)
    expected = 0.0
    for step in range(1, 6):
        torch.nn.init.constant_(layer.weight, float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.shadow["weight"].item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == 5.0
