"""Shared by all tests: one thread, no network cache in the home folder, a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Text embeddings of random weights stay out of the user's cache, also in child processes."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETCLIPV2_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def tiny_model() -> DetCLIPv2:
    """The `tiny` preset with seeded random weights, in evaluation; do not change it."""
    torch.manual_seed(0)
    return DetCLIPv2(PRESETS["tiny"]).eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_model: DetCLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tiny_model.save_pretrained(folder, {"note": "random weights"})
    return folder
