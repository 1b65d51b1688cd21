from __future__ import annotations

import numpy as np
import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.data.loader import Batch
from train.data.transforms import View
from train.targets import build_targets, gather_concepts
from train.task import BoxesTask, LossConfig, box_losses, normalise


def _view(boxes: list[list[float]], names: list[str], exhaustive: bool = True) -> View:
    concepts = tuple(dict.fromkeys(names))
    labels = np.array([[c == n for c in concepts] for n in names], bool)
    return View(
        np.zeros((0, 0, 3), np.uint8), np.array(boxes, np.float32).reshape(-1, 4), concepts,
        labels.reshape(len(names), len(concepts)), exhaustive,
    )  # fmt: skip


def _losses(model: DetCLIPv2, views: list[View]) -> dict[str, torch.Tensor]:
    pixels = torch.randn(
        len(views), 3, 64, 64, generator=torch.Generator().manual_seed(0)
    )  # fmt: skip
    concepts = gather_concepts(views, ["boat"])
    regions, logits = model(pixels, concepts)
    return box_losses(regions, logits, build_targets(views, concepts, load_concepts()))


@pytest.fixture
def model() -> DetCLIPv2:
    torch.manual_seed(0)
    return DetCLIPv2(PRESETS["tiny"]).train()


@pytest.mark.parametrize(
    "views",
    [
        [_view([], [])],
        [_view([], []), _view([], [], exhaustive=False)],
        [_view([[10, 10, 40, 44]], ["dog"])],
        [_view([[10, 10, 40, 44]], ["dog"]), _view([], [])],
        [_view([[0.2, 0.2, 2.9, 3]], ["speck"])],  # holds no anchor's middle
    ],
)
def test_losses_and_gradients_are_finite_whatever_boxes_there_are(
    model: DetCLIPv2, views: list[View]
) -> None:
    losses = _losses(model, views)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert set(losses) == {"align", "giou", "centerness"}
    assert all(loss.isfinite() for loss in losses.values())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


def test_a_photo_without_boxes_adds_background_only(model: DetCLIPv2) -> None:
    boxed, empty = _view([[10, 10, 40, 44]], ["dog"]), _view([], [])
    alone, both = _losses(model, [boxed]), _losses(model, [boxed, empty])
    torch.testing.assert_close(alone["centerness"], both["centerness"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone["giou"], both["giou"], rtol=1e-4, atol=1e-5)
    assert both["align"] > alone["align"]


def test_what_is_unsaid_changes_no_loss(model: DetCLIPv2) -> None:
    """ "animal" on another photo neither rewards nor punishes the regions of a dog."""
    views = [_view([[10, 10, 40, 44]], ["dog"]), _view([[8, 8, 50, 50]], ["animal"])]
    concepts = gather_concepts(views)
    regions, logits = model(torch.zeros(2, 3, 64, 64), concepts)
    logits = logits.detach().requires_grad_()
    targets = build_targets(views, concepts, load_concepts())
    box_losses(regions, logits, targets)["align"].backward()
    assert logits.grad is not None
    assert (logits.grad[0, :, concepts.index("animal")] == 0).all()
    assert (logits.grad[0, :, concepts.index("dog")] != 0).any()


def test_a_step_learns_and_weights_multiply() -> None:
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["tiny"]).train()
    view = _view([[8, 8, 40, 40]], ["dog"])
    batch = Batch(0, torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8), (view,), 1)

    def task(config: LossConfig) -> dict[str, torch.Tensor]:
        return BoxesTask(model, list, load_concepts(), model.config.image, config, seed=0)(batch)

    once, twice = task(LossConfig(giou=1)), task(LossConfig(giou=2))
    torch.testing.assert_close(2 * once["giou"], twice["giou"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    before = sum(v.item() for v in twice.values())
    for _ in range(15):
        optimizer.zero_grad()
        loss = sum(task(LossConfig()).values())
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    assert loss.item() < 0.7 * before  # type: ignore[union-attr]


def test_normalise_is_mean_and_std_of_the_config() -> None:
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    out = normalise(pixels, PRESETS["nano"].image)
    assert out.shape == (1, 3, 1, 1)
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 128 / 127.5 - 1, 1.0]))
