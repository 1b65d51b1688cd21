"""What must stay as it is while the code moves: nano's boxes, a training step, a run's files.

`python -m tests.golden.values` writes `values.json` anew, which only a change that is meant to
move boxes may do.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.cli import main as command_line
from detclipv2.assets import CAPTIONS, FOLDER
from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.predictor import Predictor
from tests.train.conftest import draw_set
from tests.train.loop.drawn import drawn_experiment, losses
from train.pretrain import pretrain

VALUES = Path(__file__).parent / "values.json"
DEMO = FOLDER / "demo"
PHOTOS = [name for name, _ in CAPTIONS]
WORDS = "person, cat, coffee cup, spoon, rocket, flag, tower, space suit, eye, saucer"
LOOKS: dict[str, dict[str, Any]] = {
    "thorough": {},
    "fast": {"size": 448},
    "small": {"size": 224},
    "large": {"size": 640},
    "tiles": {"tiles": 2},
}
"""How a photo is looked at: the checkpoint's own looks, one look, tiles."""
THRESHOLDS = (0.3, 0.1, 0.02)
_SAMPLES = 12


def kernels() -> str:
    """What has to be the same for floats to be the same to the bit."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"torch {torch.__version__}, {cpu}, {torch.backends.cpu.get_cpu_capability()}"


def predictor_values(predictor: Predictor) -> dict[str, Any]:
    """Regions, detections and aligned phrases of the demo photos."""
    found: dict[str, Any] = {}
    for photo, caption in CAPTIONS:
        for look, settings in LOOKS.items():
            encoded = predictor.encode_image(DEMO / photo, **settings)
            found[f"regions/{photo}/{look}"] = _regions(encoded)
            for threshold in THRESHOLDS:
                boxes = predictor.detect(encoded, WORDS, threshold=threshold)
                assert boxes.confidence is not None and boxes.class_id is not None
                found[f"boxes/{photo}/{look}/{threshold}"] = {
                    "xyxy": boxes.xyxy.tolist(),
                    "score": boxes.confidence.tolist(),
                    "class": boxes.class_id.tolist(),
                }
        aligned = predictor.align(DEMO / photo, caption)
        found[f"alignment/{photo}"] = {
            "phrases": list(aligned.phrases),
            "best": aligned.best.tolist(),
            "evidence": aligned.evidence.tolist(),
            "boxes": aligned.boxes[aligned.best].tolist(),
            "similarity": aligned.similarity,
        }
    return found


def training_values(folder: Path) -> dict[str, Any]:
    """Losses and gradient norms of a short run on detection, grounding and pairs."""
    pretrain(drawn_experiment(draw_set(folder / "set"), folder / "run", steps=6))
    steps = losses(folder / "run")
    assert {name.split("/")[0] for step in steps.values() for name in step} == {
        "detection",
        "grounding",
        "pairs",
    }
    return {f"training/{step}": values for step, values in steps.items()}


def run_values(folder: Path) -> dict[str, Any]:
    """A run folder's rows and an export of each format, with nano at one look."""
    run = folder / "run"
    formats = [word for kind in FORMATS for word in ("--format", kind)]
    # As version 0.1 asked lists.
    plain = ["--threshold", "0.3", "--no-one-name", "--no-whole-things"]
    asked = ["--prompts", WORDS, "--size", "224", *plain]
    code = command_line(["detect", str(DEMO), *asked, "--run", str(run), *formats])
    assert code == 0
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        ledger.row_factory = sqlite3.Row
        images = ledger.execute(
            "SELECT file_name, state, sha256, width, height FROM images ORDER BY id"
        )
        boxes = ledger.execute("SELECT * FROM boxes ORDER BY image, rank").fetchall()
        found: dict[str, Any] = {
            "run/images": [list(row) for row in images],
            "run/boxes": {
                name: [row[name] for row in boxes]
                for name in ("image", "rank", "class", "score", "x1", "y1", "x2", "y2")
            },
        }
    exports = run / "exports"
    for file in sorted(path for path in exports.rglob("*") if path.is_file()):
        name = file.relative_to(exports).as_posix()
        data = file.read_bytes()
        found[f"export/{name}"] = (
            _plain(data.decode()) if file.suffix in _TEXT else hashlib.sha256(data).hexdigest()
        )
    return found


FORMATS = ("coco", "yolo", "voc", "csv", "labelstudio")
_TEXT = (".json", ".yaml", ".txt", ".xml", ".csv")
_PASSING = ("date_created", "created", "versions", "checkpoint", "model_version", "id", "license")


def _plain(text: str) -> Any:
    """JSON as values without dates and ids of weights, other text as lines."""
    try:
        return _without(json.loads(text))
    except ValueError:
        return text.splitlines()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in _PASSING and k != "info"}
    return [_without(item) for item in value] if isinstance(value, list) else value


def _regions(encoded: EncodedImage) -> dict[str, Any]:
    tensors = {
        field.name: value
        for field in fields(encoded.regions)
        if isinstance(value := getattr(encoded.regions, field.name), Tensor)
    }
    return {
        "levels": list(encoded.regions.level_counts),
        "digest": {name: _digest(tensor) for name, tensor in tensors.items()},
        "sample": {name: _sample(tensor) for name, tensor in tensors.items()},
    }


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def _sample(tensor: Tensor) -> list[float]:
    flat = tensor.double().flatten()
    places = np.linspace(0, len(flat) - 1, _SAMPLES).astype(int)
    return [float(flat.mean()), float(flat.std()), *flat[torch.from_numpy(places)].tolist()]


def all_values(folder: Path) -> dict[str, Any]:
    """Everything by name; `folder` takes what is made on the way."""
    predictor = Predictor(load_checkpoint("nano"), cache_dir=folder / "cache")
    return {
        **predictor_values(predictor),
        **training_values(folder / "training"),
        **run_values(folder / "runs"),
    }


def record() -> None:
    """Write `values.json`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DETCLIPV2_CACHE"] = folder
        values = all_values(Path(folder))
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()]
    first = f'"kernels": {json.dumps(kernels())}'
    VALUES.write_text("{\n" + ",\n".join([first, *lines]) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(record())
