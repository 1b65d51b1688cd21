"""Any detector by name or folder: our checkpoints, and transformers' zero-shot detectors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detclipv2.detectors.errors import DetectorError
from detclipv2.detectors.protocol import Detector
from detclipv2.inference.fair_lock import FairLock

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor

_FEW = 50  # photos; OpenVINO takes two seconds to start and saves a twentieth of one a photo


def is_shipped(name: str) -> bool:
    """Whether it is the name of a model that comes with the app."""
    from detclipv2.checkpoint import embedded

    return name in embedded()


def open_detector(
    source: str, *, device: str = "auto", lock: FairLock | None = None
) -> Detector[Any]:
    """The detector of a shipped name, a checkpoint folder, or a folder of transformers.

    `lock` is shared with other detectors, to take turns.

    Raises:
        DetectorError: none of these, or it cannot be loaded; the message says what to do.
    """
    from detclipv2.checkpoint import CheckpointError, locate
    from detclipv2.detectors.transformers_detector import TransformersDetector

    try:
        if _is_transformers(Path(source)):
            return TransformersDetector.from_pretrained(source, device=device, lock=lock)
        locate(source)
        return open_predictor(source, device=device, lock=lock)
    except (CheckpointError, OSError, ValueError) as error:
        raise DetectorError(f"the detector {source!r} cannot be used: {error}") from error


def open_predictor(
    source: str, *, device: str = "auto", lock: FairLock | None = None, photos: int | None = None
) -> Predictor:
    """The predictor of a shipped name or of a checkpoint folder.

    Args:
        source: the name or folder.
        device: see `Predictor`.
        lock: to take turns with other detectors.
        photos: how many it is for, if that is known: OpenVINO's start does not pay for few.

    Raises:
        DetectorError: no such model, a damaged one, or one that cannot run on the device.
    """
    from detclipv2.checkpoint import CheckpointError, load_checkpoint
    from detclipv2.inference.predictor import Predictor
    from detclipv2.inference.runtimes.openvino import RUNTIME_VARIABLE, GraphError

    few = photos is not None and photos < _FEW and RUNTIME_VARIABLE not in os.environ
    try:
        return Predictor(
            load_checkpoint(source), device=device, lock=lock, runtime="torch" if few else "auto"
        )
    except (CheckpointError, GraphError, ValueError) as error:
        raise DetectorError(str(error)) from error


def _is_transformers(folder: Path) -> bool:
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and "model_type" in told
