from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.data.loader import Batch
from train.data.transforms import View
from train.loop.distributed import Replica, World
from train.nano.rank_loss import rank_loss
from train.tasks.box_targets import build_targets, gather_concepts, sought
from train.tasks.boxes import BoxesConfig, BoxesTask, assign, box_losses, normalise


def _view(boxes: list[list[float]], names: list[str], exhaustive: bool = True) -> View:
    concepts = tuple(dict.fromkeys(names))
    labels = np.array([[c == n for c in concepts] for n in names], bool)
    return View(
        np.zeros((0, 0, 3), np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        concepts,
        labels.reshape(len(names), len(concepts)),
        exhaustive,
    )


def _losses(model: DetCLIPv2, views: list[View]) -> dict[str, torch.Tensor]:
    pixels = torch.randn(len(views), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    concepts = gather_concepts(views, ["boat"])
    regions, words, bias = model(pixels, concepts)
    targets = build_targets(views, concepts, load_concepts())
    assigned = assign(targets, (64, 64), model.config.anchor_scale, torch.device("cpu"))
    logits = regions.embeddings @ words.T + bias
    return box_losses(regions, logits, assigned, assigned.counts()[:3])


class Plain:
    """Backward as it is."""

    def __call__(self, loss: torch.Tensor) -> None:
        loss.backward()

    def resume(self, tensors: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
        torch.autograd.backward(tensors, gradients)


def _task(model: DetCLIPv2, config: BoxesConfig, names: list[str] | None = None) -> BoxesTask:
    dictionary = load_concepts()
    return BoxesTask(
        Replica(model, World()),
        model.config,
        list,
        dictionary,
        names or dictionary.names,
        config,
        seed=0,
        ranking=rank_loss,
    )


def _batch(views: list[View]) -> Batch:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 255, (len(views), 64, 64, 3), dtype=torch.uint8, generator=generator)
    return Batch(0, pixels, tuple(views), tuple(range(len(views))), len(views))


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
    """The word "animal" on another photo neither rewards nor punishes the regions of a dog."""
    views = [_view([[10, 10, 40, 44]], ["dog"]), _view([[8, 8, 50, 50]], ["animal"])]
    concepts = gather_concepts(views)
    regions, words, bias = model(torch.zeros(2, 3, 64, 64), concepts)
    logits = (regions.embeddings @ words.T + bias).detach().requires_grad_()
    targets = build_targets(views, concepts, load_concepts())
    assigned = assign(targets, (64, 64), 8.0, torch.device("cpu"))
    box_losses(regions, logits, assigned, assigned.counts()[:3])["align"].backward()
    assert logits.grad is not None
    assert (logits.grad[0, :, concepts.index("animal")] == 0).all()
    assert (logits.grad[0, :, concepts.index("dog")] != 0).any()


def test_a_step_learns_and_weights_multiply(model: DetCLIPv2) -> None:
    batch = _batch([_view([[8, 8, 40, 40]], ["dog"])])
    model.eval()
    once = _task(model, BoxesConfig(giou=1, concepts=5))(batch, Plain())
    twice = _task(model, BoxesConfig(giou=2, concepts=5))(batch, Plain())
    torch.testing.assert_close(2 * once["giou"], twice["giou"])
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    before = sum(v.item() for v in twice.values())
    for _ in range(15):
        optimizer.zero_grad()
        losses = _task(model, BoxesConfig(concepts=5))(batch, Plain())
        optimizer.step()
    assert sum(v.item() for v in losses.values()) < 0.7 * before


_VIEWS = [
    _view([[4, 10, 50, 60], [2, 2, 30, 30]], ["dog", "cat"]),  # the first as large as an anchor
    _view([], []),
    _view([[8, 8, 50, 50]], ["boat"], exhaustive=False),
]


@pytest.mark.parametrize("quality", [False, True])
def test_micro_batches_give_the_gradient_of_the_whole(quality: bool) -> None:
    torch.manual_seed(0)
    preset = dataclasses.replace(PRESETS["tiny"], quality=quality)
    model = DetCLIPv2(preset).eval()
    found = []
    for size in (0, 1, 2):
        model.zero_grad()
        config = BoxesConfig(concepts=4, micro_batch=size, quality=1.0, rank=0.5)
        losses = _task(model, config, ["tree", "mug", "kite", "sofa"])(_batch(_VIEWS), Plain())
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((losses, gradients))
    assert {"foreground", "iou"} <= found[0][0].keys() or not quality
    assert found[0][0]["rank"] > 0
    for losses, gradients in found[1:]:
        for name, value in found[0][0].items():
            torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5)
        for name, value in found[0][1].items():
            torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=1e-5)


def test_ranks_teach_the_words_alone_and_ask_only_for_what_is_boxed(model: DetCLIPv2) -> None:
    views = [*_VIEWS[1:], _view([[0.2, 0.2, 2.9, 3]], ["speck"])]
    concepts = gather_concepts(views)
    regions, words, bias = model(torch.randn(3, 3, 64, 64), concepts)
    logits = regions.embeddings @ words.T + bias
    targets = build_targets(views, concepts, load_concepts())
    # One photo is empty, one not exhaustive, and no box fits a speck.
    assert [sought(t).sum().item() for t in targets] == [0, 0, 1]
    nothing = rank_loss(regions, logits, targets)
    assert nothing == 0 and nothing.requires_grad
    targets = build_targets(_VIEWS[:1], _VIEWS[0].concepts, load_concepts())
    boxes = regions.boxes.clone()
    boxes[0, 7] = torch.tensor([4.0, 10, 50, 60])
    some = dataclasses.replace(regions, boxes=boxes)
    rank_loss(some, logits[:1, :, :2], targets).backward()
    assert (model.image_tower.head.embedding.weight.grad != 0).any()
    assert (
        model.image_tower.head.box.weight.grad is None
        and model.image_tower.head.centerness.weight.grad is None
    )


def test_without_localisation_only_the_words_teach_yet_every_parameter_takes_part(
    model: DetCLIPv2,
) -> None:
    losses = _task(model, BoxesConfig(concepts=4, localise=False))(_batch(_VIEWS), Plain())
    assert set(losses) == {"align"}
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert (model.image_tower.head.box.weight.grad == 0).all()
    assert (model.image_tower.head.embedding.weight.grad != 0).any()


def test_negatives_fill_a_photo_up_and_depend_on_its_place_only() -> None:
    views = [_view([[10, 10, 40, 44]], ["dog"]), _view([[8, 8, 50, 50]], ["boat"])]
    task = _task(DetCLIPv2(PRESETS["tiny"]), BoxesConfig(concepts=7))
    concepts = task._concepts(_batch(views))
    assert concepts[0] == "dog" and len(concepts) == len(set(concepts)) == 14
    alone = Batch(0, torch.zeros(1, 64, 64, 3), (views[1],), (1,), 1)
    assert set(task._concepts(alone)) <= set(concepts)


def test_a_complete_name_is_a_negative_outside_the_boxes_of_an_unexhaustive_photo() -> None:
    view = dataclasses.replace(_view([[8, 8, 50, 50]], ["boat"], False), complete=("kite",))
    target = build_targets([view], ("boat", "kite", "mug"), load_concepts())[0]
    assert target.unsaid_outside.tolist() == [True, False, True]


def test_unknown_sources_of_negatives_are_named() -> None:
    with pytest.raises(ValueError, match="sky"):
        BoxesConfig(negatives="sky")  # type: ignore[arg-type]


def test_normalise_is_mean_and_std_of_the_config() -> None:
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    out = normalise(pixels, PRESETS["nano"].image)
    assert out.shape == (1, 3, 1, 1)
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 128 / 127.5 - 1, 1.0]))
