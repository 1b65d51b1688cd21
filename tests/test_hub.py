"""Nothing that a checkpoint or a detector's folder names is fetched unless the user says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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
for kind, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    asked.clear()
    try:
        if kind == "ours":
            model = load_checkpoint(folder)
            model.encode_text(["a cat"])
        else:
            TransformersDetector.from_pretrained(folder, device="cpu")
        said = "opened"
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error)
    print(json.dumps({"asked": asked, "said": said}))
"""


def opened(*models: tuple[str, str], **environment: str) -> list[tuple[list[str], str]]:
    """Hosts that were asked for while each model was opened, and what came of it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ran = subprocess.run(
        [sys.executable, "-c", _OPEN, *(word for model in models for word in model)],
        env={**own, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()[-len(models) :]]
    return [(one["asked"], one["said"]) for one in told]


def test_a_checkpoints_backbone_is_an_architecture(tiny_checkpoint: Path, tmp_path: Path) -> None:
    backbones = ["hf-hub:owner/name", "hf_hub:owner/name", "local-dir:/etc"]
    folders = [
        edited(tiny_checkpoint, tmp_path / str(index), backbone=backbone)
        for index, backbone in enumerate(backbones)
    ]
    told = opened(*(("ours", str(folder)) for folder in folders))
    for (asked, said), backbone in zip(told, backbones, strict=True):
        assert asked == [] and repr(backbone) in said and "no architecture" in said


def test_what_a_folder_names_is_fetched_on_request_only(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Ours names its text tower, transformers' its backbone; or the folder is a hub's name."""
    text = json.loads((tiny_checkpoint / "config.json").read_text())["model"]["text"]
    words = edited(tiny_checkpoint, tmp_path / "words", text={**text, "source": "owner/name"})
    theirs = save_detector("grounding-dino", tmp_path)
    config = json.loads((theirs / "config.json").read_text())
    config["backbone_config"] = {
        "model_type": "timm_backbone",
        "backbone": "hf-hub:owner/name",
        "out_indices": [2, 3, 4],
        "use_pretrained_backbone": True,
    }
    (theirs / "config.json").write_text(json.dumps(config))
    cache = {"HF_HOME": str(tmp_path / "hub")}
    told = opened(("ours", str(words)), ("theirs", str(theirs)), ("theirs", "owner/name"), **cache)
    assert [asked for asked, _ in told] == [[], [], []]
    assert "hf download owner/name" in told[0][1] and DOWNLOAD_VARIABLE in told[0][1]
    assert "hf-hub:owner/name" in told[1][1]
    assert "hf download owner/name" in told[2][1]
    ((asked, _),) = opened(("ours", str(words)), **cache, **{DOWNLOAD_VARIABLE: "1"})
    assert asked, "with the variable it would be asked for"


def edited(checkpoint: Path, folder: Path, **changes: object) -> Path:
    """A copy of a checkpoint with another configuration."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder
