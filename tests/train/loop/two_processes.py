"""What each process of `test_distributed` runs: gradients of one batch, written by the first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detclipv2 import PRESETS
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig, SecondTowerConfig
from detclipv2.nano.tower import build
from train.data.loader import Batch
from train.data.transforms import View
from train.initial_model import blocks_of
from train.loop.distributed import Parallel, Replica, World, world
from train.nano.rank_loss import rank_loss
from train.tasks.boxes import BoxesConfig, BoxesTask
from train.tasks.pairs import PairsTask
from train.tasks.pairs_config import PairsConfig
from train.tasks.text_encoding import Texts

CASES: dict[str, BoxesConfig | PairsConfig] = {
    "detection": BoxesConfig(concepts=6, rank=0.5),
    "detection, two towers": BoxesConfig(concepts=6),
    "detection, micro-batches": BoxesConfig(concepts=6, micro_batch=1),
    "grounding": BoxesConfig(concepts=9, localise=False),
    "pairs": PairsConfig(k=12, objectness="text_sample"),
    "pairs, both sides, softly": PairsConfig(
        k=12, objectness="centerness", side="both", matching="softmax", chunk=1
    ),
    "pairs, cached": PairsConfig(k=12, objectness="text_sample", micro_batch=1, side="both"),
}
"""The first process has all the boxes and most of the words. Proposals are not ranked by the words
of the whole batch: the paper asks those of the local one, so what it finds depends on its size."""

SEEDS = (0, 1, 2)
"""Random weights. ReLU and the sampling of the deformable entry have kinks, and a value within
rounding of one may fall on either side: with few weights, hence more than one draw of them."""


class _Back:
    def __call__(self, loss: torch.Tensor) -> None:
        loss.backward()

    def resume(self, tensors: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
        torch.autograd.backward(tensors, gradients)


def _view(boxes: list[list[float]], names: list[str], mentioned: list[str], caption: str) -> View:
    concepts = tuple(dict.fromkeys([*names, *mentioned]))
    labels = np.array([[c == n for c in concepts] for n in names], bool)
    return View(
        np.zeros((0, 0, 3), np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        concepts,
        labels.reshape(len(names), len(concepts)),
        True,
        caption=caption,
    )


# Slots 0 and 2 go to the first of two processes, 1 and 3 to the second.
VIEWS = (
    _view(
        [[8, 8, 40, 40], [20, 4, 60, 50]], ["dog", "cat"], ["a red sofa", "grass"], "a dog, a cat"
    ),
    _view([], [], [], "nothing"),
    _view([[4, 10, 50, 60]], ["boat"], ["the sea", "two men"], "a boat"),
    _view([], [], ["zebra"], "a zebra"),
)


def part(here: World) -> Batch:
    """This process's share of the batch."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 255, (4, 64, 64, 3), dtype=torch.uint8, generator=generator)
    slots = tuple(range(here.rank, 4, here.size))
    return Batch(0, pixels[list(slots)], tuple(VIEWS[i] for i in slots), slots, len(slots))


def gradients(case: str, seed: int, here: World, parallel: Parallel) -> dict[str, Any]:
    """Losses and gradients of one case."""
    torch.manual_seed(seed)
    tiny = PRESETS["tiny"]
    second = SecondTowerConfig(tiny.backbone, 48) if case.endswith("two towers") else None
    model = build(tiny, NanoConfig(second=second)).eval()
    first = model.image_tower
    for tower in filter(None, (first, getattr(first, "second", None))):
        assert tower.head.entry is not None
        torch.nn.init.normal_(tower.head.entry.steer.weight, std=0.05)
    replica = Replica(model, here, parallel, blocks_of(model))
    config = CASES[case]
    task: BoxesTask | PairsTask
    if isinstance(config, BoxesConfig):
        names = ["tree", "mug", "kite", "sofa", "cup", "train", "bird", "horse", "house", "street"]
        task = BoxesTask(
            replica, model.config, list, load_concepts(), names, config, seed=0, ranking=rank_loss
        )
    else:
        task = PairsTask(replica, model.config, list, config)
    losses = task(part(here), _Back())
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad
            found[name] = grad.full_tensor() if hasattr(grad, "full_tensor") else grad.clone()
    return {"losses": {k: v.cpu() for k, v in losses.items()}, "gradients": found}


def frozen_words(here: World, parallel: Parallel) -> torch.Tensor:
    """What a frozen text tower says when it is asked for texts that come late."""
    torch.manual_seed(0)
    text = dataclasses.replace(PRESETS["tiny"].text, frozen=True)
    model = DetCLIPv2(dataclasses.replace(PRESETS["tiny"], text=text))
    replica = Replica(model, here, parallel, blocks_of(model))
    pooled = Texts(model, device=here.device)(["rice cooker", "a red mug"])
    regions, words, _ = replica(torch.zeros(1, 3, 64, 64), pooled)
    (regions.embeddings.sum() + words.sum()).backward()
    assert isinstance(pooled, torch.Tensor)
    assert all(p.grad is not None for p in model.text_encoder.projection.parameters())
    return pooled


def write_gradients(out: Path, parallel: Parallel) -> None:
    """All cases, in a file."""
    with world(minutes=2) as here:
        everything = {
            (case, seed): gradients(case, seed, here, parallel) for case in CASES for seed in SEEDS
        }
        everything["frozen words", 0] = {"pooled": frozen_words(here, parallel)}
        if here.main:
            torch.save(everything, out)
