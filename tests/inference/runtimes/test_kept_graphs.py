"""Graphs that are kept on disk: made once, and anew where they are wrong."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detclipv2 import DetCLIPv2
from detclipv2.config import PRESETS
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.runtimes import openvino as openvino_tower
from detclipv2.inference.runtimes.openvino import GraphError, OpenVINOTower, choose_encoder
from detclipv2.regions import Regions
from tests.inference.runtimes.regions import compare


@pytest.fixture(scope="module")
def graphs(spread_model: DetCLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's graph, to be copied."""
    folder = tmp_path_factory.mktemp("graphs")
    OpenVINOTower(spread_model.for_inference(), folder)
    return folder


@pytest.fixture(scope="module")
def other_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of other weights."""
    folder = tmp_path_factory.mktemp("other graphs")
    OpenVINOTower(other_model(), folder)
    return folder


def other_model() -> DetCLIPv2:
    torch.manual_seed(1)
    return DetCLIPv2(PRESETS["tiny"]).eval()


def test_a_graph_is_made_once_a_checkpoint(
    spread_model: DetCLIPv2, tmp_path: Path, made: list[str]
) -> None:
    model = spread_model.for_inference()
    OpenVINOTower(model, tmp_path)
    compare(model, OpenVINOTower(model, tmp_path), [(1, 64, 96)])
    assert made == ["tiny"]
    other = other_model()
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


@pytest.mark.parametrize("damage", ["cut", "empty", "of other weights"])
def test_a_kept_graph_that_is_wrong_is_made_anew(
    spread_model: DetCLIPv2,
    graphs: Path,
    other_graphs: Path,
    tmp_path: Path,
    made: list[str],
    damage: str,
) -> None:
    model = spread_model.for_inference()
    shutil.copytree(graphs, tmp_path, dirs_exist_ok=True)
    (place,) = tmp_path.iterdir()
    if damage == "of other weights":
        (other,) = other_graphs.iterdir()
        for file in other.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    else:
        graph = place / "tower.xml"
        graph.write_bytes(graph.read_bytes()[:400] if damage == "cut" else b"")
    made.clear()
    for _ in range(2):
        compare(model, OpenVINOTower(model, tmp_path), [(1, 64, 96)])
        assert made == ["tiny"]


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
