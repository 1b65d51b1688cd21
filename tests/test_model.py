from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
import torch

from detclipv2 import PRESETS, ModelConfig
from detclipv2.config import ImageConfig, Ranking
from detclipv2.model import DetCLIPv2
from detclipv2.regions import rank


def _millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("preset", "backbone", "pyramid", "total"),
    [
        # Swin-T 27.5 M; laterals 1344·256 and five 3×3 convolutions
        ("swin_t", 27.5, 3.3, 99.0),
        # Swin-L 195.2 M; laterals 2688·256 and the same five
        ("swin_l", 195.2, 3.64, 267.0),
    ],
)
def test_the_papers_models_have_the_papers_size(
    preset: str, backbone: float, pyramid: float, total: float
) -> None:
    with torch.device("meta"):
        model = DetCLIPv2(PRESETS[preset])
    conv = 256 * 256 * 9 / 1e6
    # 2 × 4 tower convolutions, the deformable one and its 27-channel steering, region embedding
    # (3×3), box and centerness (5 channels)
    head = 8 * conv + conv + 27 / 256 * conv + conv + 5 / 256 * conv
    # 49,408 words and 77 positions of width 512, twelve layers of 12·512², projection to 256
    text = (49_408 * 512 + 77 * 512 + 12 * 12 * 512**2 + 512 * 256) / 1e6
    assert _millions(model.image_tower.backbone) == pytest.approx(backbone, rel=0.01)
    assert _millions(model.image_tower.fpn) == pytest.approx(pyramid, rel=0.01)
    assert _millions(model.image_tower.head) == pytest.approx(head, rel=0.01)
    assert _millions(model.text_encoder) == pytest.approx(text, rel=0.01)
    assert _millions(model) == pytest.approx(backbone + pyramid + head + text, rel=0.005)
    assert _millions(model) == pytest.approx(total, rel=0.02)


def test_tiny_and_nano_are_small() -> None:
    with torch.device("meta"):
        tiny, nano = DetCLIPv2(PRESETS["tiny"]), DetCLIPv2(PRESETS["nano"])
    assert _millions(tiny) < 1.2
    assert _millions(nano.image_tower) <= 8
    assert not any(p.requires_grad for p in nano.text_encoder.tower.parameters())


def test_a_batch_equals_its_singles(tiny_model: DetCLIPv2) -> None:
    pixels = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = tiny_model.encode_image(pixels)
        for i in range(3):
            alone = tiny_model.encode_image(pixels[i : i + 1])
            for name in ("boxes", "embeddings", "centerness"):
                one, all_ = getattr(alone, name)[0], getattr(together, name)[i]
                torch.testing.assert_close(one, all_, rtol=1e-4, atol=1e-4)


def test_regions_have_the_documented_shapes(tiny_model: DetCLIPv2) -> None:
    with torch.no_grad():
        regions = tiny_model.encode_image(torch.zeros(2, 3, 64, 96))
    count = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1
    assert regions.level_counts == (96, 24, 6, 2, 1)
    assert regions.boxes.shape == (2, count, 4)
    assert regions.embeddings.shape == (2, count, tiny_model.config.embed_dim)
    assert regions.centerness.shape == (2, count)
    assert regions.anchors.shape == (count, 4)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 65)])
def test_unusable_pixels_are_refused_with_their_shape(
    tiny_model: DetCLIPv2, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=str(shape[-1])):
        tiny_model.encode_image(torch.zeros(shape))


def test_every_concept_is_encoded_alone(tiny_model: DetCLIPv2) -> None:
    texts = ["cat", "a rather long description of a dog", "red mug"]
    with torch.no_grad():
        together = tiny_model.encode_text(texts)
        alone = torch.cat([tiny_model.encode_text([t]) for t in texts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    assert tiny_model.encode_text([]).shape == (0, tiny_model.config.embed_dim)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_similarity_is_a_scaled_product_plus_bias(similarity: Literal["dot", "cosine"]) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["tiny"], similarity=similarity, initial_scale=3.0)
    model = DetCLIPv2(config).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        regions, words, bias = model(pixels, ["cat", "red mug"])
        concepts = model.encode_text(["cat", "red mug"])
        norms = regions.embeddings.norm(dim=-1)
    expected = 3.0 * torch.einsum("bad,kd->bak", regions.embeddings, concepts) + model.bias
    torch.testing.assert_close(model.similarity(regions.embeddings, concepts), expected)
    torch.testing.assert_close(regions.embeddings @ words.T + bias, expected)
    assert (norms - 1).abs().max() < 1e-4 or similarity == "dot"
    assert model.bias.sigmoid().item() == pytest.approx(model.config.prior)


def test_without_any_concept_or_with_the_text_tower_trainable_gradients_flow() -> None:
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["tiny"]).train()
    _, none, _ = model(torch.randn(1, 3, 64, 64), [])
    assert none.shape == (0, 32)
    regions, words, _ = model(torch.randn(1, 3, 64, 64), ["cat", "dog"])
    (regions.embeddings @ words.T).sum().backward()
    embedding = model.text_encoder.tower.get_input_embeddings().weight
    assert embedding.grad is not None and embedding.grad.abs().sum() > 0


@pytest.mark.parametrize("ranking", ["centerness", "iou", "both"])
def test_quality_branches_give_logits_and_localisation_mixes_them(ranking: Ranking) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["tiny"], quality=True)
    with torch.no_grad():
        regions = DetCLIPv2(config).encode_image(10 * torch.randn(2, 3, 64, 64))
    assert regions.foreground is not None and regions.iou is not None
    assert regions.foreground.shape == regions.iou.shape == regions.centerness.shape
    assert torch.equal(regions.localisation, regions.centerness)
    factors = {"centerness": [regions.centerness], "iou": [regions.iou]}
    shares = [f.sigmoid() for f in factors.get(ranking, [regions.centerness, regions.iou])]
    expected = torch.stack(shares).prod(dim=0)
    torch.testing.assert_close(rank(regions, ranking).localisation.sigmoid(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30}, "width"),
        ({"similarity": "manhattan"}, "manhattan"),
        ({"prior": 0.0}, "prior"),
        ({"embed_kernel": 2}, "embed_kernel"),
        ({"deform_min_level": 5}, "deform_min_level"),
    ],
)
def test_contradictions_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PRESETS["tiny"], **change)


def test_config_round_trip_and_unknown_keys() -> None:
    for config in PRESETS.values():
        assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(TypeError, match="colour"):
        ModelConfig.from_dict({**PRESETS["tiny"].to_dict(), "colour": 1})
    with pytest.raises(ValueError, match=r"image\.std"):
        ImageConfig(std=(0, 1, 1))
