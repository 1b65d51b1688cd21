"""OpenVINO's regions against the network's own, and where it takes torch's place."""

from __future__ import annotations

import builtins
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2 import DetCLIPv2, Predictor
from detclipv2.checkpoint import load_checkpoint
from detclipv2.config import PRESETS
from detclipv2.inference.runtimes import openvino as openvino_tower
from detclipv2.inference.runtimes.openvino import GraphError, OpenVINOTower
from detclipv2.inference.runtimes.traceable import TraceableTower
from detclipv2.nano.tower import NanoTower
from tests.inference.runtimes.regions import compare


def test_a_canvas_of_any_size_gives_the_networks_regions(spread_model: DetCLIPv2) -> None:
    model = spread_model.for_inference()
    shapes = [(1, 32, 32), (1, 64, 32), (1, 320, 448), (3, 448, 96), (2, 160, 160)]
    compare(model, OpenVINOTower(model), shapes)


def test_the_embedded_model_with_its_prior_branches_and_shortcut() -> None:
    model = load_checkpoint("nano").for_inference()
    tower = model.image_tower
    assert isinstance(tower, NanoTower) and tower.prior is not None
    assert tower.shortcut is not None and tower.second is not None
    assert model.config.quality and model.config.deformable
    compare(model, OpenVINOTower(model), [(1, 192, 256), (2, 128, 96)])


def test_swin() -> None:
    """Its windows are padded and shifted by what the canvas needs."""
    torch.manual_seed(0)
    small = replace(PRESETS["tiny"], backbone="swin_tiny_patch4_window7_224")
    model = DetCLIPv2(small).eval().for_inference()
    compare(model, OpenVINOTower(model), [(1, 32, 64), (2, 224, 160)])


def test_a_picture_has_the_same_detections(spread_model: DetCLIPv2, photo: Image.Image) -> None:
    torch_s, openvino_s = (
        Predictor(spread_model, device="cpu", runtime=runtime).predict(
            photo, ["cup", "dog", "a red mug"], threshold=0.05, tiles=2
        )
        for runtime in ("torch", "openvino")
    )
    assert len(torch_s) > 20
    np.testing.assert_array_equal(openvino_s.class_id, torch_s.class_id)
    np.testing.assert_allclose(openvino_s.xyxy, torch_s.xyxy, atol=1e-2)
    np.testing.assert_allclose(openvino_s.confidence, torch_s.confidence, atol=1e-4)


def test_bf16_says_nearly_the_same_where_the_cpu_can(
    spread_model: DetCLIPv2, tmp_path: Path, made: list[str]
) -> None:
    model = spread_model.for_inference()
    exact = OpenVINOTower(model, tmp_path)
    can = openvino_tower._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in can:
        with pytest.raises(GraphError, match="bf16"):
            OpenVINOTower(model, tmp_path, bf16=True)
        return
    rounded = OpenVINOTower(model, tmp_path, bf16=True)
    assert (exact.runtime, rounded.runtime) == ("openvino", "openvino-bf16")
    assert made == ["tiny"]
    prints = [
        Predictor(spread_model, device="cpu", cache_dir=tmp_path, runtime=runtime).fingerprint
        for runtime in ("torch", "openvino", "openvino-bf16")
    ]
    assert prints[0] == prints[1] != prints[2]
    pixels = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    one, other = exact(pixels).embeddings, rounded(pixels).embeddings
    assert not torch.equal(one, other)
    assert torch.nn.functional.cosine_similarity(one, other, dim=-1).min() > 0.99


def test_without_openvino_torch_takes_its_place(
    spread_model: DetCLIPv2, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "openvino":
            raise ImportError("No module named 'openvino'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr(  # as before the first tower
        openvino_tower, "_only_core", openvino_tower._only_core.__wrapped__
    )
    with caplog.at_level(logging.WARNING):
        predictor = Predictor(spread_model, device="cpu", runtime="auto")
    assert predictor.runtime == "torch"
    assert "pip install openvino" in caplog.text
    with pytest.raises(GraphError, match="pip install openvino"):
        Predictor(spread_model, device="cpu", runtime="openvino")


def test_the_environment_says_what_auto_means(
    spread_model: DetCLIPv2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETCLIPV2_RUNTIME", "torch")
    assert Predictor(spread_model, device="cpu", runtime="auto").runtime == "torch"
    assert Predictor(spread_model, device="cpu", runtime="openvino").runtime == "openvino"
    monkeypatch.setenv("DETCLIPV2_RUNTIME", "warp")
    with pytest.raises(ValueError, match="'warp'"):
        Predictor(spread_model, device="cpu", runtime="auto")


def test_nothing_is_reported_over_the_network(
    spread_model: DetCLIPv2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openvino.convert_model would."""
    import openvino_telemetry

    def tell(*_: object, **__: object) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", tell)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "__init__", tell)
    OpenVINOTower(spread_model.for_inference())


SIGNALLED = """
import os, signal, sys, threading
from detclipv2.inference.runtimes.openvino import OpenVINOTower
from detclipv2.checkpoint import load_checkpoint

model = load_checkpoint(sys.argv[1]).for_inference()
towers = [OpenVINOTower(model) for _ in range(2)]
del towers[0], towers[0]  # the older one first
towers.append(OpenVINOTower(model))
other = threading.Thread(target=towers.clear)
other.start()
other.join()
signal.signal(signal.SIGUSR1, lambda *_: print("signalled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_ends_no_process_whose_towers_are_gone(tiny_checkpoint: Path) -> None:
    """OpenVINO's CPU plugin unmaps, with itself, the stack that signals are handled on."""
    command = [sys.executable, "-c", SIGNALLED, str(tiny_checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "signalled\n"), done.stderr


def test_networks_that_are_made_ready_at_the_same_time_wait_for_each_other(
    spread_model: DetCLIPv2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks are traced one at a time: two threads that do so sometimes fail."""
    models = [spread_model.for_inference() for _ in range(3)]
    start, alone = threading.Barrier(len(models)), threading.Lock()
    ready, met = [], []
    forward = TraceableTower.forward

    def slow(self: TraceableTower, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not alone.acquire(blocking=False):
            met.append(self)
            return forward(self, pixels)
        time.sleep(0.2)
        alone.release()
        return forward(self, pixels)

    def make(model: DetCLIPv2) -> None:
        start.wait()
        ready.append(OpenVINOTower(model))

    monkeypatch.setattr(TraceableTower, "forward", slow)
    threads = [threading.Thread(target=make, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ready) == len(models) and not met
