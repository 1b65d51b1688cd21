"""Give a trained detector the classifier that its backbone came with; see `nn.knowledge`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from detclipv2.language.concepts import load_concepts
from detclipv2.language.sentence import prompt_text
from detclipv2.model import DetCLIPv2
from detclipv2.nano.imagenet_prior import imagenet_names
from detclipv2.nano.int8_weights import step_of
from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet
from train.data.dictionary.everyday import everyday_words

_STRENGTH = 0.8
# All 14,000 names of the dictionary instead of one of so many explain 0.1 % more of the variance.
_EVERY = 4
_RIDGE = 1e-5  # with 1e-4 coco_dev's AP50 was 0.2 less
# What so many boxed photos of training hold the classifier says half as much of. Texts of fewer
# photos than the second are not asked: they are many and weigh little.
_OFTEN, _SELDOM = 20, 5


def with_knowledge(model: DetCLIPv2, weights_from: str = "package") -> DetCLIPv2:
    """A copy of `model` with its backbone's classifier attached, as ImageNet left it.

    Where training changed the stages after C4, the classifier gets these as they were.

    Args:
        model: a trained detector with a frozen text tower.
        weights_from: see `imagenet_weights`.

    Raises:
        ValueError: training changed earlier stages, whose features the classifier no longer knows.
    """
    original = imagenet_backbone(model.config.backbone, weights_from)
    changed = changed_tensors(model.backbone, original)
    late = {f"net.blocks.{i}" for i in _late_blocks(original)}
    if early := [name for name in changed if ".".join(name.split(".")[:3]) not in late]:
        raise ValueError(
            f"training changed the backbone ({early[0]}), so its ImageNet classifier no longer "
            "fits; train with all stages up to C4 frozen, or let train.nano.distil teach it"
        )
    return grown(model, original.after_c4() if changed else None, weights_from)


def grown(model: DetCLIPv2, late: nn.Module | None, weights_from: str = "package") -> DetCLIPv2:
    """A copy of `model` with the classifier, behind stages after C4 of its own or the model's.

    Args:
        model: a trained detector with a frozen text tower.
        late: the stages; None for those of `model`.
        weights_from: see `imagenet_weights`.
    """
    config = dataclasses.replace(model.config, knowledge=True, knowledge_late=late is not None)
    copy = DetCLIPv2(config)
    copy.load_state_dict(model.state_dict(), strict=False)
    assert copy.knowledge is not None
    with torch.no_grad():
        copy.knowledge.strength.fill_(_STRENGTH)
        if copy.knowledge.late is not None and late is not None:
            copy.knowledge.late.load_state_dict(late.state_dict())
    copy.knowledge.load(imagenet_weights(config.backbone, weights_from), region_names(model))
    return copy.eval()


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
    seen = model.text.project(texts)
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
    prompts = [prompt_text(model.config.text.template, name) for name in names]
    return torch.cat([model.text.pooled(prompts[i : i + 64]) for i in range(0, len(prompts), 64)])


def lent(model: DetCLIPv2, owner: DetCLIPv2) -> DetCLIPv2:
    """A copy of `model` with the knowledge of `owner`, which was taught for the same features.

    The class names are fitted anew, for the two may project texts differently.

    Raises:
        ValueError: `owner` has none, or another backbone.
    """
    if owner.knowledge is None:
        raise ValueError(
            f"{owner.config.name!r} has no knowledge to lend; let train.nano.distil make it"
        )
    if changed := changed_tensors(model.backbone, owner.backbone):
        raise ValueError(
            f"the two backbones differ ({changed[0]}); let train.nano.distil teach another"
        )
    config = dataclasses.replace(
        model.config, knowledge=True, knowledge_late=owner.config.knowledge_late
    )
    copy = DetCLIPv2(config)
    known = {k: v for k, v in owner.state_dict().items() if k.startswith("knowledge.")}
    copy.load_state_dict({**known, **model.state_dict()})
    assert copy.knowledge is not None
    copy.knowledge.names.copy_(region_names(copy))
    return copy.eval()


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
    """By how much a weight in eight bits may be off, with a little to spare; see `packing`."""
    return 0.51 * step_of(tensor) if tensor.ndim == 4 else tensor.new_zeros(())


def _late_blocks(backbone: Backbone) -> range:
    stages = len(backbone.net.blocks)
    return range(stages - len(backbone.after_c4()), stages)
