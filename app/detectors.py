"""Any detector by name or folder: our checkpoints, and transformers' zero-shot detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.results import EngineError
from detclipv2.inference.detectors import Detector
from detclipv2.inference.slot import Slot


def is_shipped(name: str) -> bool:
    """Whether it is the name of a model that comes with the app."""
    from detclipv2.checkpoint import embedded

    return name in embedded()


def open_detector(source: str, *, device: str = "auto", slot: Slot | None = None) -> Detector[Any]:
    """The detector of a shipped name ("nano"), of a checkpoint folder, or of a folder as
    transformers saves them; `slot` is shared with other detectors, to take turns.

    Raises:
        EngineError: none of these, or it cannot be loaded; the message says what to do.
    """
    from detclipv2.checkpoint import CheckpointError, locate
    from detclipv2.inference.detectors import TransformersDetector
    from detclipv2.inference.openvino_tower import GraphError
    from detclipv2.inference.predictor import Predictor
    from detclipv2.model import DetCLIPv2

    try:
        if _is_transformers(Path(source)):
            return TransformersDetector.from_pretrained(source, device=device, slot=slot)
        locate(source)
        network = DetCLIPv2.from_pretrained(source)
        return Predictor(network, device=device, slot=slot, runtime="auto")
    except (CheckpointError, GraphError, OSError, ValueError) as error:
        raise EngineError(f"the detector {source!r} cannot be used: {error}") from error


def _is_transformers(folder: Path) -> bool:
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and "model_type" in told
