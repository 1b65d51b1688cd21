"""OpenVINO's regions against the network's own, and what happens to graphs that are kept."""

from __future__ import annotations

import builtins
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2 import DetCLIPv2, Predictor
from detclipv2.checkpoint import load_checkpoint
from detclipv2.config import PRESETS
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.runtimes import openvino as openvino_tower
from detclipv2.inference.runtimes.openvino import GraphError, OpenVINOTower, choose_encoder
from detclipv2.inference.runtimes.traceable import TraceableTower, encoder_of
from detclipv2.nano.tower import NanoTower
from detclipv2.regions import Regions


def same(one: Regions, other: Regions) -> None:
    for field in fields(Regions):
        given, wanted = getattr(one, field.name), getattr(other, field.name)
        if isinstance(wanted, torch.Tensor):
            torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3, msg=field.name)
        else:
            assert given == wanted, field.name


def compare(model: DetCLIPv2, tower: OpenVINOTower, shapes: Sequence[tuple[int, int, int]]) -> None:
    for batch, height, width in shapes:
        generator = torch.Generator().manual_seed(height)
        pixels = torch.randn(batch, 3, height, width, generator=generator)
        with torch.inference_mode():
            same(tower(pixels), encoder_of(model)(pixels))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that were traced."""
    names: list[str] = []
    convert = openvino_tower._convert

    def count(model: DetCLIPv2) -> Any:
        names.append(model.config.name)
        return convert(model)

    monkeypatch.setattr(openvino_tower, "_convert", count)
    return names


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


def test_a_graph_is_made_once_a_checkpoint(
    spread_model: DetCLIPv2, tmp_path: Path, made: list[str]
) -> None:
    model = spread_model.for_inference()
    OpenVINOTower(model, tmp_path)
    compare(model, OpenVINOTower(model, tmp_path), [(1, 64, 96)])
    assert made == ["tiny"]
    torch.manual_seed(1)
    other = DetCLIPv2(PRESETS["tiny"]).eval()
    compare(other, OpenVINOTower(other, tmp_path), [(1, 64, 96)])
    assert made == ["tiny", "tiny"]
    assert len(list(tmp_path.iterdir())) == 2


def test_graphs_used_last_are_kept(
    spread_model: DetCLIPv2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_tower, "_KEPT", 1)
    (tmp_path / "old").mkdir()
    os.utime(tmp_path / "old", (0, 0))
    model = spread_model.for_inference()
    OpenVINOTower(model, tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == [fingerprint(model)[:32]]


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


@pytest.mark.parametrize("damage", ["cut", "empty", "of other weights"])
def test_a_kept_graph_that_is_wrong_is_made_anew(
    spread_model: DetCLIPv2, tmp_path: Path, made: list[str], damage: str
) -> None:
    model = spread_model.for_inference()
    OpenVINOTower(model, tmp_path)
    (place,) = tmp_path.iterdir()
    if damage == "of other weights":
        torch.manual_seed(1)
        OpenVINOTower(DetCLIPv2(PRESETS["tiny"]).eval(), tmp_path / "other")
        (other,) = (tmp_path / "other").iterdir()
        for file in other.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    else:
        graph = place / "tower.xml"
        graph.write_bytes(graph.read_bytes()[:400] if damage == "cut" else b"")
    before = len(made)
    compare(model, OpenVINOTower(model, tmp_path), [(1, 64, 96)])
    assert len(made) == before + 1
    compare(model, OpenVINOTower(model, tmp_path), [(1, 64, 96)])
    assert len(made) == before + 1


def test_a_folder_that_cannot_be_written_costs_the_next_start_only(
    spread_model: DetCLIPv2, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    model = spread_model.for_inference()
    with caplog.at_level(logging.WARNING):
        tower = OpenVINOTower(model, tmp_path / "file" / "graphs")
    assert "cannot be written" in caplog.text
    compare(model, tower, [(1, 64, 96)])


def test_a_graph_that_misreads_other_sizes_is_refused(
    spread_model: DetCLIPv2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tracing would, were there a size that it takes for a constant."""
    model = spread_model.for_inference()
    encode = DetCLIPv2.encode_image

    def fixed(self: DetCLIPv2, pixels: torch.Tensor) -> Regions:
        regions = encode(self, pixels)
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            return replace(regions, embeddings=regions.embeddings + float(pixels.shape[-1]))
        return regions

    monkeypatch.setattr(DetCLIPv2, "encode_image", fixed)
    with pytest.raises(GraphError, match="other regions"):
        choose_encoder(model, "openvino", tmp_path)
    assert not list(tmp_path.iterdir())
    assert not isinstance(choose_encoder(model, "auto", tmp_path), OpenVINOTower)


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
