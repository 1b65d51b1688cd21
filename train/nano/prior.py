"""Give a trained detector the classifier that its backbone came with; see `nano.imagenet_prior`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from detclipv2.language.concepts import load_concepts
from detclipv2.language.embedding_file import default_cache_dir
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.imagenet_prior import ImageNetPrior, imagenet_names
from detclipv2.nano.int8_weights import step_of
from detclipv2.nano.tower import NanoTower, build, nano_config
from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet
from train.data.dictionary.everyday import everyday_words
from train.tasks.text_encoding import Texts

_STRENGTH = 0.8
# All 14,000 names of the dictionary instead of one of so many explain 0.1 % more of the variance.
_EVERY = 4
_RIDGE = 1e-5  # with 1e-4 coco_dev's AP50 was 0.2 less
# What so many boxed photos of training hold the classifier says half as much of. Texts of fewer
# photos than the second are not asked: they are many and weigh little.
_OFTEN, _SELDOM = 20, 5


def with_prior(model: DetCLIPv2, weights_from: str = "package") -> DetCLIPv2:
    """A copy of `model` with its backbone's classifier attached, as ImageNet left it.

    Args:
        model: a trained detector with a frozen text tower.
        weights_from: see `imagenet_weights`.

    Raises:
        ValueError: training changed the backbone, whose features the classifier no longer knows.
    """
    name = model.config.backbone
    if changed := changed_tensors(
        model.image_tower.backbone, imagenet_backbone(name, weights_from)
    ):
        raise ValueError(
            f"training changed the backbone ({changed[0]}), so its ImageNet classifier no longer "
            "fits; train with the backbone frozen"
        )
    nano = replace(nano_config(model) or NanoConfig(), imagenet_prior=True)
    copy = build(model.config, nano, model.serving)
    copy.load_state_dict(model.state_dict(), strict=False)
    prior = prior_of(copy)
    with torch.no_grad():
        prior.strength.fill_(_STRENGTH)
    prior.load(imagenet_weights(name, weights_from), region_names(model))
    return copy.eval()


def prior_of(model: DetCLIPv2) -> ImageNetPrior:
    """The ImageNet prior of a detector.

    Raises:
        ValueError: it has none.
    """
    tower = model.image_tower
    if not isinstance(tower, NanoTower) or tower.prior is None:
        raise ValueError(f"{model.config.name!r} has no ImageNet prior")
    return tower.prior


@torch.no_grad()
def region_names(model: DetCLIPv2, taught: Mapping[str, int] | None = None) -> Tensor:
    """(1000, D): what stands for ImageNet's classes among the region embeddings of `model`.

    Their products with projected texts are to be what the text tower itself says: how alike text
    and class name are before the projection, all classes' mean taken away. Fitted by least squares
    over names of the concept dictionary; the projected class names themselves, which the projection
    made for other texts, explain less of it (nano: 73 % of the variance instead of 97 %).

    Args:
        model: a detector with a frozen text tower.
        taught: of how many boxed photos of training a text was a concept. What it showed often the
            detector knows better than a classifier with hardly a class for people: the more photos,
            the nearer to zero the products are to be.
    """
    counts = {text: n for text, n in (taught or {}).items() if n >= _SELDOM}
    texts = encode_names(model, [*load_concepts().names[::_EVERY], *counts])
    seen = model.text_encoder.project(texts)
    classes = class_vectors(model)
    shown = torch.tensor([0] * (len(texts) - len(counts)) + list(counts.values()))
    wanted = texts @ (classes - classes.mean(dim=0)).T * (_OFTEN / (_OFTEN + shown))[:, None]
    weighed = torch.where(shown > 0, shown / _OFTEN, 1.0)[:, None] * seen
    ridge = _RIDGE * len(seen) * torch.eye(seen.shape[1])
    return torch.linalg.solve(weighed.T @ seen + ridge, weighed.T @ wanted).T


@torch.no_grad()
def class_vectors(model: DetCLIPv2) -> Tensor:
    """(1000, width): what ImageNet's classes are called, before the text tower's projection.

    The mean of a class's own name and of its everyday word, where it has one. More of the word
    finds no more of COCO's classes, and more phrases that are not there.
    """
    own, words = list(imagenet_names()), everyday_words()
    common = [word or name for word, name in zip(words, own, strict=True)]
    return (encode_names(model, own) + encode_names(model, common)) / 2


def encode_names(model: DetCLIPv2, names: Sequence[str]) -> Tensor:
    """(K, width): the prompts of K names as the text tower pools them, before its projection."""
    return Texts(model, default_cache_dir()).plain(names)


def imagenet_backbone(name: str, weights_from: str = "package") -> Backbone:
    """The backbone as ImageNet left it, in evaluation."""
    backbone = Backbone(name)
    load_imagenet(backbone, imagenet_weights(name, weights_from))
    return backbone.eval()


def changed_tensors(backbone: Backbone, original: Backbone) -> list[str]:
    """Names of the weights in which the two differ by more than storing them explains."""
    own = backbone.state_dict()
    return [
        name
        for name, tensor in original.state_dict().items()
        if ((tensor - own[name]).abs() > 1e-4 + 1e-3 * tensor.abs() + _rounding(tensor)).any()
    ]


def _rounding(tensor: Tensor) -> Tensor:
    """By how much a weight in eight bits may be off, with a little to spare.

    See `nano.int8_weights`.
    """
    return 0.51 * step_of(tensor) if tensor.ndim == 4 else tensor.new_zeros(())
