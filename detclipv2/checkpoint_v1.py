"""Checkpoints of version 0.1: one configuration for all, other names of the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detclipv2.config import ModelConfig
from detclipv2.digest import digest
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.tower import nano_config
from detclipv2.serving import ServingConfig

_RENAMED = (
    ("backbone.", "image_tower.backbone."),
    ("fpn.", "image_tower.fpn."),
    ("head.", "image_tower.head."),
    ("text.", "text_encoder."),
    ("knowledge.", "image_tower.prior."),
    ("shortcut.", "image_tower.shortcut."),
    ("partner.", "image_tower.second."),
)
"""Prefixes then and now, in the order that the tensors had then, after `log_scale` and `bias`."""
_SIZES = ("size", "least", "short", "half", "second")
_SERVING = ("score_scale", "score_bias", "soft_nms")


def read_config(values: Mapping[str, Any]) -> tuple[ModelConfig, ServingConfig, NanoConfig | None]:
    """The three configurations that one was.

    Raises:
        KeyError, TypeError, ValueError: no such configuration.
    """
    own = dict(values)
    image = dict(own.pop("image"))
    serving = {name: image.pop(name) for name in _SIZES if name in image}
    serving |= {name: own.pop(name) for name in _SERVING if name in own}
    ranking = own.pop("localisation", "centerness")
    if own.pop("knowledge_late", False):
        raise ValueError("knowledge_late is no longer read; version 0.1 does")
    second = own.pop("partner", None)
    if second:
        second = {
            "backbone": second["backbone"],
            "width": second["width"],
            "embeddings": second.get("meaning", 0.5),
            "boxes": second.get("place", 0.5),
        }
    nano = {
        "shortcut": own.pop("shortcut", False),
        "imagenet_prior": own.pop("knowledge", False),
        "second": second,
        "int8": own.pop("compact", False),
    }
    beyond = any(nano.values())
    if nano["imagenet_prior"]:
        nano["prior_ranking"] = ranking
    return (
        ModelConfig.from_dict({**own, "image": image}),
        ServingConfig(ranking=ranking, **serving),
        NanoConfig.from_dict(nano) if beyond else None,
    )


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of now, whichever they have."""
    return {_replaced(name, _RENAMED): tensor for name, tensor in tensors.items()}


def fingerprint_v1(model: DetCLIPv2) -> str:
    """The digest that version 0.1 gave the same checkpoint; runs of that time carry it."""
    serving, nano = model.serving, nano_config(model)
    calibration = (serving.score_scale, serving.score_bias)
    salt = "" if calibration == (1.0, 0.0) else repr(calibration)
    if serving.soft_nms:
        salt += f"soft {serving.soft_nms}"
    if nano and nano.second:
        salt += f"partner {nano.second.embeddings} {nano.second.boxes}"
    if serving.second:
        salt += f"second {serving.second}"
    if serving.half:
        salt += f"half {serving.half}"
    backwards = tuple((new, old) for old, new in _RENAMED)
    named = {_replaced(name, backwards): t for name, t in model.state_dict().items()}
    order = ("log_scale", "bias", *(old for old, _ in _RENAMED))
    sorted_names = sorted(named, key=lambda name: _place(name, order))  # stable within a part
    return digest(((name, named[name]) for name in sorted_names), salt.encode())


def _replaced(name: str, prefixes: tuple[tuple[str, str], ...]) -> str:
    for old, new in prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _place(name: str, order: tuple[str, ...]) -> int:
    return next(index for index, prefix in enumerate(order) if name.startswith(prefix))
