"""What a checkpoint's boxes come from, as hex digits that change whenever a box could."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from detclipv2.digest import digest
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import nano_config

UNSEEN = frozenset(
    {
        "model.name",
        "model.drop_path",
        "model.initial_scale",
        "model.prior",
        "model.text.frozen",
        "model.text.definitions",
        "nano.int8",
        "serving.list_threshold",
    }
)
"""Fields that change no box of a checkpoint: names, training, where the learned weights began, how
they are stored, and what callers ask for by default."""


def fingerprint(model: DetCLIPv2) -> str:
    """Hex digest of all weights and of the configuration's fields that are not `UNSEEN`."""
    return digest(model.state_dict().items(), canonical(model).encode())


def canonical(model: DetCLIPv2) -> str:
    """The configurations as JSON, without `UNSEEN`, in one order."""
    nano = nano_config(model)
    parts = {
        "model": model.config.to_dict(),
        "serving": vars(model.serving),
        "nano": nano and nano.to_dict(),
    }
    seen = {name: value for name, value in _flat(parts) if name not in UNSEEN}
    return json.dumps(seen, sort_keys=True)


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """("a.b", leaf) of nested maps."""
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, member in value.items():
        yield from _flat(member, f"{prefix}.{key}" if prefix else key)
