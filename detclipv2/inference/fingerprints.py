"""Hex digests of all that a predictor's regions and boxes come from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from detclipv2.checkpoint_v1 import fingerprint_v1
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.adapted_classes import AdaptedClasses
from detclipv2.inference.runtimes.openvino import Runtime

if TYPE_CHECKING:
    from detclipv2.model import DetCLIPv2


def region_fingerprints(model: DetCLIPv2, runtime: Runtime) -> tuple[str, str]:
    """Of the model and of whether its image tower rounds; the second is version 0.1's."""
    own = fingerprint(model), fingerprint_v1(model)
    return own if runtime != "openvino-bf16" else (_rounded(own[0]), _rounded(own[1]))


def adapted_fingerprint(regions: str, classes: AdaptedClasses) -> str:
    """Of regions and of classes that were learned."""
    return _digest(f"{regions} {classes.digest}")


def check_adapted(model: DetCLIPv2, classes: AdaptedClasses) -> None:
    """A machine that rounds may use what one that does not has learned, and the other way.

    Raises:
        ValueError: the classes were learned from another checkpoint's regions.
    """
    own = fingerprint(model)
    if classes.checkpoint not in (own, _rounded(own)):
        raise ValueError(
            f"the classes were learned with checkpoint {classes.checkpoint[:8]} and this model is "
            f"{own[:8]}; name the model that they were learned with"
        )


def _rounded(digest: str) -> str:
    return _digest(f"{digest} bf16")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
