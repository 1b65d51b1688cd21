"""Knowledge of a detector whose early features were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from detclipv2.nn.knowledge import ImageNetKnowledge
from tests.train.test_evaluate import root as ov_mini  # noqa: F401 - a fixture
from train import distil
from train.knowledge import grown, imagenet_backbone, with_knowledge


@pytest.fixture(scope="module")
def changed() -> DetCLIPv2:
    """A nano whose stem and C4 are not ImageNet's any more."""
    torch.manual_seed(0)
    model = DetCLIPv2(PRESETS["nano"]).eval()
    model.text.load_pretrained()
    load_imagenet(model.backbone, imagenet_weights(model.config.backbone, "package"))
    with torch.no_grad():
        for block in (2, 4):
            for parameter in model.backbone.net.blocks[block].parameters():
                parameter.mul_(1.15)
    return model


def test_late_stages_learn_what_imagenet_said_and_nothing_else_changes(changed: DetCLIPv2) -> None:
    teacher = imagenet_backbone(changed.config.backbone)
    model = grown(changed, teacher.after_c4())
    generator = torch.Generator().manual_seed(1)
    # Smooth noise, a little like photos; the same few again and again.
    small = torch.rand(4, 3, 8, 8, generator=generator)
    photos = torch.nn.functional.interpolate(small, size=96, mode="bicubic").clamp(0, 1)
    pixels = (255 * photos).byte().permute(0, 2, 3, 1)

    def again() -> Iterator[Tensor]:
        while True:
            yield pixels

    losses = distil.distil(model, teacher, again(), steps=25)
    assert losses[-1] < 0.6 * losses[0] and all(0 <= loss < 10 for loss in losses)
    for name, tensor in changed.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert model.knowledge is not None and not any(
        p.requires_grad for n, p in model.knowledge.named_parameters() if n != "strength"
    )
    with pytest.raises(ValueError, match="late stages of its own"):
        distil.distil(changed, teacher, again(), steps=1)


def test_discord_is_zero_for_what_is_wanted_and_has_a_finite_gradient() -> None:
    torch.manual_seed(0)
    knowledge = ImageNetKnowledge(320, embed_dim=4)
    wanted = torch.randn(2, 320, 3, 3)
    assert float(distil.discord(knowledge, wanted, wanted)) == 0
    other = torch.randn(2, 320, 3, 3).requires_grad_()
    loss = distil.discord(knowledge, other, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    assert 0.5 < float(loss.detach()) < 10
    assert other.grad is not None and bool(other.grad.isfinite().all())


def test_the_command_writes_a_checkpoint_with_knowledge(
    changed: DetCLIPv2, ov_mini: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    changed.save_pretrained(tmp_path / "plain", {"steps": 7})
    with pytest.raises(ValueError, match=r"train\.distil"):
        with_knowledge(DetCLIPv2.from_pretrained(tmp_path / "plain"))
    told = ["--root", str(ov_mini), "--steps", "2"]
    distil.main([str(tmp_path / "plain"), str(tmp_path / "out"), *told])
    model = DetCLIPv2.from_pretrained(tmp_path / "out")
    assert model.knowledge is not None and model.config.knowledge_late
    card = inspect(tmp_path / "out")["card"]
    assert card["steps"] == 7 and card["distilled_knowledge"]["steps"] == 2
