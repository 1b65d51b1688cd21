"""Run folders and checkpoints that were made by the first versions are read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from app.runs import sources
from app.runs.jobs import process
from app.runs.store import Run
from detclipv2 import checkpoint
from detclipv2.assets import FOLDER
from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.predictor import Predictor

BEFORE = Path(__file__).parent / "before"
NANO = FOLDER / "nano"


def test_a_run_folder_of_version_0_1(tmp_path: Path) -> None:
    run = Run(shutil.copytree(BEFORE / "run", tmp_path / "run"))
    assert run.view.vocabulary.names == ("cat", "coffee cup")
    assert run.view.vocabulary.thresholds == {0: 0.4}
    rows = list(run.images("done", "empty"))
    assert [row.file_name for row in rows] == [
        "astronaut.jpg",
        "chelsea.jpg",
        "coffee.jpg",
        "rocket.jpg",
    ]
    counts = [len(run.detections(row)) for row in rows]
    assert sum(counts) > 0 and run.counts().done == sum(count > 0 for count in counts)
    run.close()


def test_a_run_of_version_0_1_is_resumed(tmp_path: Path) -> None:
    folder = shutil.copytree(BEFORE / "run", tmp_path / "run")
    for photo in ("astronaut", "chelsea", "coffee", "rocket"):
        with sqlite3.connect(folder / "ledger.sqlite") as ledger:
            place = str(FOLDER / "demo" / f"{photo}.jpg")
            ledger.execute(
                "UPDATE images SET place = ?, state = 'pending' WHERE file_name = ?",
                (place, f"{photo}.jpg"),
            )
    run = Run(folder)
    before = [run.stored(row) for row in run.images()]
    predictor = Predictor(load_checkpoint("nano"), cache_dir=tmp_path)
    assert [outcome.state for outcome in process(run, predictor, sources.read)]
    assert [len(run.stored(row)) for row in run.images()] == [len(boxes) for boxes in before]
    run.close()


def test_a_checkpoint_of_version_0_1(tmp_path: Path) -> None:
    with safe_open(NANO / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set((BEFORE / "nano_tensors.txt").read_text().split())
    folder = tmp_path / "old"
    folder.mkdir()
    save_file(load_file(NANO / "model.safetensors"), folder / "model.safetensors")
    shutil.copy(BEFORE / "nano_config.json", folder / "config.json")
    assert "format" not in json.loads((folder / "config.json").read_text())
    old, new = load_checkpoint(folder), load_checkpoint("nano")
    assert old.config == new.config
    own = new.state_dict()
    for name, tensor in old.state_dict().items():
        assert torch.equal(tensor, own[name]), name
    assert checkpoint.embedded() == ["nano"]
