"""Shared by all tests: one thread, no network cache in the home folder, a tiny model."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2 import PRESETS
from detclipv2.checkpoint import save_checkpoint
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Text embeddings of random weights stay out of the user's cache, also in child processes."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETCLIPV2_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_memory() -> Iterator[None]:
    """What a test file took for its models is given back to the system."""
    yield
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def tiny_model() -> DetCLIPv2:
    """The `tiny` preset with seeded random weights, in evaluation; do not change it."""
    torch.manual_seed(0)
    return DetCLIPv2(PRESETS["tiny"]).eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_model: DetCLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_checkpoint(tiny_model, folder, {"note": "random weights"})
    return folder


@pytest.fixture(scope="session")
def spread_model() -> DetCLIPv2:
    """A tiny model whose random scores spread over 0..1: every threshold cuts somewhere."""
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["tiny"]).eval()
    with torch.no_grad():
        model.bias.fill_(0.5)
        model.log_scale.fill_(1.5)
    return model


@pytest.fixture(scope="session")
def predictor(spread_model: DetCLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(spread_model, device="cpu", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """100 x 60 pixels of blocks, so that no two regions look alike."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((100, 60), Image.Resampling.NEAREST)


@pytest.fixture(scope="session")
def photo_file(photo: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    photo.save(path)
    return path
