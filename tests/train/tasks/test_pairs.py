from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.learning.alignment import text_image_similarity
from detclipv2.learning.contrastive import contrastive_loss
from detclipv2.learning.proposals import OBJECTNESS, select_regions
from detclipv2.model import DetCLIPv2
from tests.train.tasks.test_boxes import Plain
from train.data.loader import Batch
from train.data.transforms import View
from train.loop.distributed import Replica, World
from train.tasks.batch_words import Words, alike, collect_words, repeated
from train.tasks.pairs import PairsTask, repeat_rows
from train.tasks.pairs_config import PairsConfig

_TEXTS = [
    ("a dog on a red sofa", ["a dog", "a red sofa"]),
    (None, ["zebra"]),
    ("two boats", ["two boats", "two boats on the sea", "a kite"]),
    ("nothing to name here", []),
    (None, []),
    (None, ["zebra"]),
    ("a man throws a ball", ["a man", "a ball"]),
]


def _batch(count: int = len(_TEXTS)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 255, (count, 64, 64, 3), dtype=torch.uint8, generator=generator)
    none = np.zeros((0, 4), np.float32)
    views = tuple(
        View(
            np.zeros((0, 0, 3), np.uint8),
            none,
            tuple(phrases),
            np.zeros((0, len(phrases)), bool),
            False,
            caption=caption,
        )
        for caption, phrases in _TEXTS[:count]
    )
    return Batch(0, pixels, views, tuple(range(count)), count, "pairs")


def _model(quality: bool = False) -> DetCLIPv2:
    torch.manual_seed(0)
    model = DetCLIPv2(dataclasses.replace(PRESETS["tiny"], quality=quality))
    # At its birth the entry steers nothing, and no gradient reaches the regression tower.
    assert model.image_tower.head.entry is not None
    torch.nn.init.normal_(model.image_tower.head.entry.steer.weight, std=0.05)
    return model


def _run(model: DetCLIPv2, **settings: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    config = PairsConfig(**{"k": 20, **settings})
    model.zero_grad()
    torch.manual_seed(7)  # dropout
    task = PairsTask(Replica(model, World()), model.config, list, config)
    loss = task(_batch(), Plain())["contrast"]
    return loss, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_loss_is_eq_5_written_out() -> None:
    model = _model().eval()
    config = PairsConfig(k=20, weight=0.3, smoothing=0.2, temperature=0.7)
    batch = _batch(3)
    got = PairsTask(Replica(model, World()), model.config, list, config)(batch, Plain())["contrast"]
    phrases = [
        ["a dog on a red sofa", "a dog", "a red sofa"],
        ["zebra"],
        ["two boats", "two boats on the sea", "a kite"],
    ]
    with torch.no_grad():
        flat = list(dict.fromkeys(p for own in phrases for p in own))
        pixels = ((batch.pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
        regions, words, bias = model(pixels, flat)
        ranking = (regions.embeddings @ words.T + bias).amax(-1)
        chosen, _ = select_regions(regions.boxes, ranking, 20)
        scores = torch.zeros(3, 3)
        for t, own in enumerate(phrases):
            for i in range(3):
                kept = regions.embeddings[i, chosen[i]]
                best = [(kept @ words[flat.index(p)]).max() for p in own]
                scores[t, i] = torch.stack(best).mean()
        expected = 0.3 * torch.nn.functional.cross_entropy(
            scores / 0.7, torch.arange(3), label_smoothing=0.2
        )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "settings", [{}, {"side": "both", "matching": "softmax"}, {"region": "largest"}, {"chunk": 2}]
)
def test_gradient_caching_equals_the_plain_loss_uneven_last_part_included(
    micro_batch: int, settings: dict[str, Any]
) -> None:
    model = _model().eval()
    plain, expected = _run(model, **{"chunk": 0, **settings})
    cached, found = _run(model, micro_batch=micro_batch, **settings)
    torch.testing.assert_close(cached, plain, rtol=1e-5, atol=1e-5)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        # Sums of single precision in another order: 1e-5 of the largest, where that is large.
        close = 1e-5 * max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=close, msg=name)
    assert any(g.abs().sum() > 0 for g in expected.values())


def test_two_threads_add_up_the_words_gradients_in_one_order() -> None:
    """Else a resumed run drifts from the one that was not stopped."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(300, 128, generator=generator)
    index = torch.randint(0, 300, (3000,), generator=generator)
    given = torch.randn(3000, 128, generator=generator)
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(60):
            leaf = words.clone().requires_grad_()
            picked = repeat_rows(leaf, index)
            assert torch.equal(picked, words[index])
            picked.backward(given)
            gradients.append(leaf.grad)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


def test_gradient_caching_repeats_the_dropout_of_its_first_pass() -> None:
    """Were the second pass another network, its gradient would not be the loss's."""
    model = _model().train()
    torch.manual_seed(3)
    task = PairsTask(Replica(model, World()), model.config, list, PairsConfig(k=5, micro_batch=2))
    seen: list[tuple[int, torch.Tensor]] = []
    layer = model.text_encoder.tower.embeddings.dropout
    hook = layer.register_forward_hook(lambda _, __, out: seen.append((len(seen), out.detach())))
    task(_batch(), Plain())
    hook.remove()
    (_, first), (_, again) = seen
    assert torch.equal(first, again)


@pytest.mark.parametrize("kind", OBJECTNESS)
def test_every_proposal_score_trains_the_words_and_leaves_the_rest_alone(kind: str) -> None:
    model = _model(quality=True).eval()
    loss, gradients = _run(model, objectness=kind)
    assert loss.isfinite() and loss > 0
    assert (gradients["image_tower.head.embedding.weight"] != 0).any()
    assert (gradients["text_encoder.projection.weight"] != 0).any()
    for name in ("box", "centerness", "quality"):
        assert (gradients[f"image_tower.head.{name}.weight"] == 0).all(), name
    assert (gradients["bias"] == 0).all()
    assert all(g.isfinite().all() for g in gradients.values())


def test_the_deformable_entry_brings_the_words_gradient_to_the_regression_tower() -> None:
    """Paper §3.3, the module's reason."""
    _, gradients = _run(_model().eval())
    assert (gradients["image_tower.head.regression_tower.0.weight"] != 0).any()


def test_photos_of_equal_text_are_no_negatives_of_each_other() -> None:
    """Both zebras of the batch: the loss is that of a matrix without each other's column."""
    model = _model().eval()
    seen: dict[str, torch.Tensor] = {}
    import train.tasks.pairs

    original = train.tasks.pairs.contrastive_loss

    def spy(*given: Any, **settings: Any) -> torch.Tensor:
        seen["same"], seen["weight"] = settings["same"], settings["weight"]
        return original(*given, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.tasks.pairs, "contrastive_loss", spy)
        _run(model)
    assert seen["same"][1].tolist() == [False, True, False, False, False, True, False]
    several = alike(["a.jpg", "b.jpg", "a.jpg", "", ""], [0, 1, 2, 3], ["x", "y", "z", "y"])
    assert several.nonzero().tolist() == [
        [0, 0],
        [0, 2],
        [1, 1],
        [1, 3],
        [2, 0],
        [2, 2],
        [3, 1],
        [3, 3],
        [4, 4],
    ]
    # A pair without any text is no row.
    assert seen["weight"].tolist() == [1, 1, 1, 1, 0, 1, 1]


def test_a_class_with_many_photos_is_one_class_to_choose() -> None:
    """All similarities alike: of two names each is as likely, however often the batch has them."""
    assert repeated(5, [0, 1, 2, 3, 3], ["zebra", "mug", "zebra", "mug", "saucer"]).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]
    model = _model().eval()
    for parameter in model.image_tower.head.embedding.parameters():
        torch.nn.init.zeros_(parameter)
    names = ["mug", "zebra", "zebra", "zebra"]
    batch = _batch(len(names))
    views = tuple(
        dataclasses.replace(v, concepts=(n,), labels=np.zeros((0, 1), bool), caption=None)
        for v, n in zip(batch.views, names, strict=True)
    )
    config = PairsConfig(
        k=1, side="image_to_text", smoothing=0.0, temperature=1.0, caption=False, weight=1.0
    )
    task = PairsTask(Replica(model, World()), model.config, list, config)
    loss = task(dataclasses.replace(batch, views=views), Plain())["contrast"]
    assert float(loss) == pytest.approx(math.log(2), rel=1e-4)


def test_words_without_support_are_dropped_or_weighed() -> None:
    model = _model().eval()
    everything, _ = _run(model)
    with torch.no_grad():
        model.bias.fill_(40.0)  # every region is sure of every word
    torch.testing.assert_close(_run(model, support=0.5)[0], everything)
    torch.testing.assert_close(_run(model, support=0.5, noise="weigh")[0], everything)
    with torch.no_grad():
        model.bias.fill_(-60.0)
    dropped, gradients = _run(model, support=0.5)
    assert dropped == 0 and all((g == 0).all() for g in gradients.values())


def test_the_caption_counts_on_wish_and_alone_in_the_baseline() -> None:
    views = _batch().views
    device = torch.device("cpu")

    def words(**settings: Any) -> Words:
        config = PairsConfig(**settings)
        return collect_words([config.texts(view) for view in views], [""] * len(views), device)

    assert "a dog on a red sofa" in words().texts
    assert "a dog on a red sofa" not in words(caption=False).texts
    assert words(region="largest").texts[:2] == ("a dog on a red sofa", "zebra")
    few = words(concepts=1, caption=False)
    assert few.texts == ("a dog", "zebra", "two boats", "a man")
    assert few.own(7)[1].tolist() == [False, True, False, False]


def test_a_batch_without_any_text_is_harmless() -> None:
    model = _model().eval()
    batch = _batch()
    silent = dataclasses.replace(
        batch, views=tuple(dataclasses.replace(batch.views[4]) for _ in batch.views)
    )
    loss = PairsTask(Replica(model, World()), model.config, list, PairsConfig(k=5))(silent, Plain())
    assert loss["contrast"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "positive"),
        ({"side": "up"}, "up"),
        ({"region": "none"}, "none"),
        ({"support": 1.0}, "1.0"),
    ],
)
def test_contradictions_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairsConfig(**settings)


def test_inference_and_training_share_the_alignment() -> None:
    """One picture, one text: the loss's similarity is the mean of the matrix's column maxima."""
    scores = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    regions, words = scores[0] @ torch.eye(3), torch.eye(3)
    value = text_image_similarity(
        regions[None], torch.ones(1, 5, dtype=torch.bool), words, torch.zeros(3).long(), 1
    )
    torch.testing.assert_close(value[0, 0], scores[0].amax(0).mean())
    assert contrastive_loss(value, torch.tensor([0])).abs() < 1e-6
