"""A disk that fills up: the boxes are written, whatever becomes of the pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.runs.reserved_space import ReservedSpace
from tests.places import REPO

_OWN_DISK = ["unshare", "--user", "--map-root-user", "--mount"]


def own_disk() -> bool:
    """Whether this machine lets a process have a small disk of its own."""
    if shutil.which("unshare") is None:
        return False
    mount = [*_OWN_DISK, "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    return subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(not own_disk(), reason="no user namespaces here")
def test_boxes_are_written_on_a_disk_that_pictures_fill(checkpoint: Path, tmp_path: Path) -> None:
    photos, kept, disk = tmp_path / "photos", tmp_path / "kept", tmp_path / "disk"
    for folder in (photos, kept, disk):
        folder.mkdir()
    noise = np.random.default_rng(0)
    # Large pictures of noise, then small ones, which take what room the large ones left.
    for number, side in enumerate([900] * 6 + [64] * 60):
        pixels = noise.integers(0, 255, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:02}.jpg", quality=40)
    command = [
        sys.executable,
        "-m",
        "app.cli",
        "detect",
        photos,
        "--prompts",
        "cat",
        "--model",
        checkpoint,
        "--threshold",
        "0",
        "--no-whole-things",
        "--max-boxes",
        "5",
        "--out",
        disk / "out",
    ]
    script = (
        f'mount -t tmpfs -o size=4m none "{disk}"; "$@"; code=$?; '
        f'cp "{disk}/out/detections.json" "{kept}"; ls -A "{disk}/out" > "{kept}/listed"; '
        "exit $code"
    )
    done = subprocess.run(
        [*_OWN_DISK, "sh", "-c", script, "sh", *map(str, command)],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    dataset = json.loads((kept / "detections.json").read_text(encoding="utf-8"))
    assert len(dataset["images"]) == 66 and len(dataset["annotations"]) > 200
    listed = (kept / "listed").read_text().split()
    assert sorted(listed) == ["detections.json", "pictures"], "the room is given back"


def test_room_is_kept_and_given_back(tmp_path: Path) -> None:
    room = ReservedSpace(tmp_path / "out")
    room.keep(10)
    (file,) = (tmp_path / "out").iterdir()
    assert file.stat().st_blocks * 512 >= 10, "not a file with a hole"
    room.keep(3 * 2**20)
    assert file.stat().st_size == 3 * 2**20
    room.release()
    assert not file.exists()
    room.release()
