"""A tiny model whose random scores spread over 0..1, so that every threshold cuts somewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2.config import PRESETS
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2


@pytest.fixture(scope="session")
def spread_model() -> DetCLIPv2:
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
