"""What stands for ImageNet's classes among the region embeddings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detclipv2.checkpoint import load_checkpoint
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.nano.prior import class_vectors, encode_names, region_names


@pytest.fixture(scope="module")
def model() -> DetCLIPv2:
    """The embedded checkpoint."""
    return load_checkpoint("nano")


@pytest.fixture(scope="module")
def names(model: DetCLIPv2) -> Tensor:
    """(1000, D), fitted without any photo."""
    return region_names(model)


def test_products_with_the_names_are_the_text_towers_own_similarities(
    model: DetCLIPv2, names: Tensor
) -> None:
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


def test_the_names_say_less_of_what_training_often_showed(model: DetCLIPv2, names: Tensor) -> None:
    often, seldom = ["dog", "man", "apple"], ["zebra", "teapot", "piano"]
    quiet = region_names(model, {**dict.fromkeys(often, 2000), **dict.fromkeys(seldom, 1)})
    torch.testing.assert_close(region_names(model, dict.fromkeys(seldom, 1)), names)
    with torch.no_grad():
        said, now = (
            (model.text_encoder.project(encode_names(model, often + seldom)) @ those.T).norm(dim=1)
            for those in (names, quiet)
        )
    kept = now / said
    assert kept[:3].max() < 0.5 and kept[3:].min() > 0.8
