"""Nothing that a checkpoint or a detector's folder names is fetched unless the user says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detclipv2.hub import DOWNLOAD_VARIABLE
from tests.detectors.transformers_models import save_detector

# What is asked of the network is written down and refused.
_OPEN = """
import json, socket, sys
asked = []
def refuse(host, *_, **__):
    asked.append(str(host))
    raise OSError(f"no way to {host}")
socket.getaddrinfo = refuse
from detclipv2.detectors.transformers_detector import TransformersDetector
from detclipv2.checkpoint import load_checkpoint
try:
    if sys.argv[1] == "ours":
        model = load_checkpoint(sys.argv[2])
        model.encode_text(["a cat"])
    else:
        TransformersDetector.from_pretrained(sys.argv[2], device="cpu")
    said = "opened"
except (OSError, RuntimeError, ValueError) as error:
    said = str(error)
print(json.dumps({"asked": asked, "said": said}))
"""


def opened(kind: str, folder: str, **environment: str) -> tuple[list[str], str]:
    """Hosts that were asked for while a model was opened, and what came of it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ran = subprocess.run(
        [sys.executable, "-c", _OPEN, kind, folder],
        env={**own, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    return told["asked"], told["said"]


@pytest.mark.parametrize("backbone", ["hf-hub:owner/name", "hf_hub:owner/name", "local-dir:/etc"])
def test_a_checkpoints_backbone_is_an_architecture(
    tiny_checkpoint: Path, tmp_path: Path, backbone: str
) -> None:
    folder = edited(tiny_checkpoint, tmp_path / "theirs", backbone=backbone)
    asked, said = opened("ours", str(folder))
    assert asked == [] and repr(backbone) in said and "no architecture" in said


def test_a_checkpoints_words_are_fetched_on_request_only(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    text = json.loads((tiny_checkpoint / "config.json").read_text())["model"]["text"]
    folder = edited(tiny_checkpoint, tmp_path / "theirs", text={**text, "source": "owner/name"})
    cache = {"HF_HOME": str(tmp_path / "hub")}
    asked, said = opened("ours", str(folder), **cache)
    assert asked == [] and "hf download owner/name" in said and DOWNLOAD_VARIABLE in said
    asked, _ = opened("ours", str(folder), **cache, **{DOWNLOAD_VARIABLE: "1"})
    assert asked, "with the variable it would be asked for"


def test_a_transformers_folder_asks_nobody(tmp_path: Path) -> None:
    folder = save_detector("grounding-dino", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"] = {
        "model_type": "timm_backbone",
        "backbone": "hf-hub:owner/name",
        "out_indices": [2, 3, 4],
        "use_pretrained_backbone": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    asked, said = opened("theirs", str(folder))
    assert asked == [] and "hf-hub:owner/name" in said
    asked, said = opened("theirs", "owner/name", HF_HOME=str(tmp_path / "hub"))
    assert asked == [] and "hf download owner/name" in said


def edited(checkpoint: Path, folder: Path, **changes: object) -> Path:
    """A copy of a checkpoint with another configuration."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder
