"""The word-region alignments of a few fixed photos at each checkpoint: alignment being learned."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from detclipv2.assets import CAPTIONS, FOLDER
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2

SNAPSHOTS = "alignments"
"""Folder of a run that holds them, `step-00001200.json` each."""


def write_snapshot(model: DetCLIPv2, folder: Path, step: int) -> Path:
    """Align the shipped photos' captions and keep the best box of each phrase.

    Args:
        model: in evaluation; its weights are not changed.
        folder: of the run.
        step: of the weights.
    """
    device = str(next(model.parameters()).device)
    photos: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        predictor = Predictor(model, device=device, cache_dir=Path(cache))
        for name, caption in CAPTIONS:
            alignment = predictor.align(FOLDER / "demo" / name, caption).to_json()
            boxes = alignment["boxes"]
            phrases = [{**p, "box": boxes[p["region"]]} for p in alignment["phrases"]]
            photos.append(
                {
                    "photo": name,
                    "caption": caption,
                    "size": alignment["size"],
                    "similarity": alignment["similarity"],
                    "phrases": phrases,
                }
            )
    file = folder / SNAPSHOTS / f"step-{step:08d}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"step": step, "photos": photos}), encoding="utf-8")
    partial.replace(file)
    return file
