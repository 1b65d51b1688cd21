"""What a run begins with, and the faster view of it that the losses see."""

from __future__ import annotations

import torch

from detclipv2 import DetCLIPv2
from detclipv2.config import PRESETS
from train.build import trained_view


def _model() -> DetCLIPv2:
    torch.manual_seed(0)
    return DetCLIPv2(PRESETS["tiny"]).train()


def _gradients(model: DetCLIPv2, seen: DetCLIPv2) -> dict[str, torch.Tensor]:
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    regions = seen.encode_image(pixels)
    total = regions.embeddings.square().mean() + regions.boxes.square().mean()
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_a_frozen_backbone_is_seen_folded_and_teaches_the_same() -> None:
    model = _model()
    # Statistics that are not those of a fresh batch norm, which would fold to nothing.
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    model.backbone.freeze(len(model.backbone.stages) - 1)
    seen = trained_view(model)
    assert seen is not model
    slow, fast = _gradients(model, model), _gradients(model, seen)
    assert slow.keys() == fast.keys() and any(name.startswith("fpn") for name in slow)
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_backbone_that_learns_or_is_sharded_is_seen_as_it_is() -> None:
    model = _model()
    model.backbone.freeze(len(model.backbone.stages) - 2)
    assert trained_view(model) is model
    model.backbone.freeze(len(model.backbone.stages) - 1)
    assert trained_view(model, "fsdp") is model


def test_what_is_saved_has_its_batch_norms() -> None:
    model = _model()
    model.backbone.freeze(len(model.backbone.stages) - 1)
    before = set(model.state_dict())
    trained_view(model)
    assert set(model.state_dict()) == before
