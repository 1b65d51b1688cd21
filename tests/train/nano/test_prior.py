"""What stands for ImageNet's classes among the region embeddings."""

from __future__ import annotations

import torch

from detclipv2 import DetCLIPv2
from detclipv2.language.concepts import load_concepts
from train.nano.prior import class_vectors, encode_names, lent, region_names


def test_products_with_the_names_are_the_text_towers_own_similarities() -> None:
    model = DetCLIPv2.from_pretrained("nano")
    names = region_names(model)
    torch.testing.assert_close(names.mean(0), torch.zeros(names.shape[1]), atol=1e-4, rtol=0)
    others = [f"a photo of a {name}" for name in load_concepts().names[2::40]]  # not fitted
    with torch.no_grad():
        texts = model.text.pooled(others)
        seen, classes = model.text.project(texts), class_vectors(model)
        wanted = texts @ (classes - classes.mean(0)).T
        projected = model.text.project(classes)
        plain = seen @ (projected - projected.mean(0)).T
        given = seen @ names.T
    assert float((given - wanted).square().sum() / wanted.square().sum()) < 0.05
    scaled = plain * (plain * wanted).sum() / plain.square().sum()
    assert float((scaled - wanted).square().sum() / wanted.square().sum()) > 0.2


def test_the_names_say_less_of_what_training_often_showed() -> None:
    model = DetCLIPv2.from_pretrained("nano")
    often, seldom = ["dog", "man", "apple"], ["zebra", "teapot", "piano"]
    plain = region_names(model)
    quiet = region_names(model, {**dict.fromkeys(often, 2000), **dict.fromkeys(seldom, 1)})
    torch.testing.assert_close(region_names(model, dict.fromkeys(seldom, 1)), plain)
    with torch.no_grad():
        said, now = (
            (model.text.project(encode_names(model, often + seldom)) @ names.T).norm(dim=1)
            for names in (plain, quiet)
        )
    kept = now / said
    assert kept[:3].max() < 0.5 and kept[3:].min() > 0.8


def test_lent_knowledge_gets_names_for_the_borrowers_projection() -> None:
    owner, model = (DetCLIPv2.from_pretrained("nano") for _ in range(2))
    assert owner.knowledge is not None
    with torch.no_grad():
        owner.knowledge.names.copy_(region_names(owner))  # nano's are fitted to say less
        model.text.projection.weight.copy_(model.text.projection.weight.flip(0))
    given = lent(model, owner)
    assert given.knowledge is not None
    asked = ["a photo of a zebra"]
    with torch.no_grad():
        right = owner.encode_text(asked) @ owner.knowledge.names.T
        again = given.encode_text(asked) @ given.knowledge.names.T
        stale = given.encode_text(asked) @ owner.knowledge.names.T
    torch.testing.assert_close(again, right, atol=2e-3, rtol=0)
    assert float((stale - right).abs().max()) > 0.2
