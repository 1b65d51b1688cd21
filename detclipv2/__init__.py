"""DetCLIPv2, an open-vocabulary detector: type any words, get boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detclipv2.config import PRESETS, ModelConfig
from detclipv2.serving import DetectSettings, ServingConfig

if TYPE_CHECKING:
    from detclipv2.detectors.open import open_detector
    from detclipv2.inference.alignment import Alignment
    from detclipv2.inference.predictor import Predictor
    from detclipv2.language.vocabulary import Vocabulary
    from detclipv2.model import DetCLIPv2

__version__ = "0.2.0"
__all__ = [
    "PRESETS",
    "Alignment",
    "DetCLIPv2",
    "DetectSettings",
    "ModelConfig",
    "Predictor",
    "ServingConfig",
    "Vocabulary",
    "open_detector",
]

_HOME = {
    "Alignment": "detclipv2.inference.alignment",
    "DetCLIPv2": "detclipv2.model",
    "Predictor": "detclipv2.inference.predictor",
    "Vocabulary": "detclipv2.language.vocabulary",
    "open_detector": "detclipv2.detectors.open",
}


def __getattr__(name: str) -> Any:
    # torch and timm take seconds to import; whoever only parses a vocabulary need not wait.
    if name not in _HOME:
        raise AttributeError(f"module 'detclipv2' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
