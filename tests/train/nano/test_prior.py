"""What stands for ImageNet's classes among the region embeddings."""

from __future__ import annotations

import torch

from detclipv2.checkpoint import load_checkpoint
from detclipv2.language.concepts import load_concepts
from train.nano.prior import class_vectors, encode_names, region_names


def test_products_with_the_names_are_the_text_towers_own_similarities() -> None:
    model = load_checkpoint("nano")
    names = region_names(model)
    torch.testing.assert_close(names.mean(0), torch.zeros(names.shape[1]), atol=1e-4, rtol=0)
    others = [f"a photo of a {name}" for name in load_concepts().names[2::40]]  # not fitted
    with torch.no_grad():
        texts = model.text_encoder.pooled(others)
        seen, classes = model.text_encoder.project(texts), class_vectors(model)
        wanted = texts @ (classes - classes.mean(0)).T
        projected = model.text_encoder.project(classes)
        plain = seen @ (projected - projected.mean(0)).T
        given = seen @ names.T
    assert float((given - wanted).square().sum() / wanted.square().sum()) < 0.05
    scaled = plain * (plain * wanted).sum() / plain.square().sum()
    assert float((scaled - wanted).square().sum() / wanted.square().sum()) > 0.2


def test_the_names_say_less_of_what_training_often_showed() -> None:
    model = load_checkpoint("nano")
    often, seldom = ["dog", "man", "apple"], ["zebra", "teapot", "piano"]
    plain = region_names(model)
    quiet = region_names(model, {**dict.fromkeys(often, 2000), **dict.fromkeys(seldom, 1)})
    torch.testing.assert_close(region_names(model, dict.fromkeys(seldom, 1)), plain)
    with torch.no_grad():
        said, now = (
            (model.text_encoder.project(encode_names(model, often + seldom)) @ names.T).norm(dim=1)
            for names in (plain, quiet)
        )
    kept = now / said
    assert kept[:3].max() < 0.5 and kept[3:].min() > 0.8
