"""What a run begins with, and the faster view of it that the losses see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detclipv2 import DetCLIPv2
from detclipv2.config import PRESETS, TextConfig
from detclipv2.nn.text_encoder import TextEncoder
from train.configs import finetune, paper
from train.initial_model import build_model, trained_view
from train.tasks.boxes import BoxesConfig


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


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP as its authors' files are: both towers in one."""
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    text = {**sizes, "num_attention_heads": 2, "vocab_size": 99, "max_position_embeddings": 16}
    vision = {**sizes, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(7)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("begun", [True, False])
def test_a_text_tower_that_learns_begins_with_the_weights_of_its_source(
    clip_folder: Path, begun: bool
) -> None:
    text = TextConfig(
        arch="clip",
        width=32,
        layers=1,
        heads=2,
        intermediate=64,
        vocab_size=99,
        positions=16,
        source=str(clip_folder),
    )
    source = TextEncoder(text, 32)
    source.load_pretrained()
    base = paper.t_o365(smoke=True)
    experiment = replace(
        base, model=replace(PRESETS["tiny"], text=text), backbone_weights="", text_weights=begun
    )
    model = build_model(experiment)
    own, given = model.text_encoder.tower.state_dict(), source.tower.state_dict()
    assert all(p.requires_grad for p in model.text_encoder.tower.parameters())
    assert all(torch.equal(own[name], given[name]) for name in given) == begun


def test_a_model_says_that_it_was_taught_definitions() -> None:
    base = replace(paper.t_o365(smoke=True), backbone_weights="", text_weights=False)
    base = replace(base, model=PRESETS["tiny"])
    assert build_model(base).config.text.definitions
    stream = base.streams[0]
    assert isinstance(stream.task, BoxesConfig)
    plain = replace(base, streams=(replace(stream, task=replace(stream.task, enrich=False)),))
    assert not build_model(plain).config.text.definitions
    # What was taught them once goes on with them.
    taught = replace(PRESETS["tiny"], text=replace(PRESETS["tiny"].text, definitions=True))
    tuned = finetune.odinw(taught, lambda *_: ([], []), photos=3)
    assert isinstance(tuned.streams[0].task, BoxesConfig) and tuned.streams[0].task.enrich


def test_the_papers_runs_begin_with_a_pretrained_text_tower() -> None:
    rows = (paper.t_o365, paper.t_o365_goldg_cc15m, paper.l_o365_goldg_cc15m)
    assert all(row().text_weights and not row().model.text.frozen for row in rows)


def test_a_frozen_backbone_is_seen_folded_and_teaches_the_same() -> None:
    model = _model()
    # Statistics that are not those of a fresh batch norm, which would fold to nothing.
    for module in model.image_tower.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    model.image_tower.backbone.freeze(len(model.image_tower.backbone.stages) - 1)
    seen = trained_view(model)
    assert seen is not model
    slow, fast = _gradients(model, model), _gradients(model, seen)
    assert slow.keys() == fast.keys() and any(name.startswith("image_tower.fpn") for name in slow)
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_backbone_that_learns_or_is_sharded_is_seen_as_it_is() -> None:
    model = _model()
    model.image_tower.backbone.freeze(len(model.image_tower.backbone.stages) - 2)
    assert trained_view(model) is model
    model.image_tower.backbone.freeze(len(model.image_tower.backbone.stages) - 1)
    assert trained_view(model, "fsdp") is model


def test_what_is_saved_has_its_batch_norms() -> None:
    model = _model()
    model.image_tower.backbone.freeze(len(model.image_tower.backbone.stages) - 1)
    before = set(model.state_dict())
    trained_view(model)
    assert set(model.state_dict()) == before
