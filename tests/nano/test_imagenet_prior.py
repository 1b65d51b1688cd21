from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
import torch.nn.functional as F

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from detclipv2.nano.imagenet_prior import ImageNetKnowledge, average_over_boxes, imagenet_names
from detclipv2.nn.backbone import Backbone, imagenet_weights


def test_the_folded_classifier_is_timms() -> None:
    weights = imagenet_weights("tf_efficientnet_lite0", "package")
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(weights)
    knowledge = ImageNetKnowledge(320, embed_dim=4)
    knowledge.load(weights, torch.zeros(1000, 4))
    c5 = torch.randn(1, 320, 3, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = net.bn2(net.conv_head(c5))
        # One cell is its own pooling.
        expected = net.forward_head(hidden[:, :, 1:2, 1:2])
        torch.testing.assert_close(knowledge.logits(c5)[:, :, 1, 1], expected, rtol=1e-3, atol=1e-4)
    names = torch.randn(1000, 4)
    knowledge.load(weights, names)
    torch.testing.assert_close(knowledge.names, names - names.mean(0))
    with pytest.raises(ValueError, match="3 names for 1000"):
        knowledge.load(weights, torch.zeros(3, 4))


def test_names_stand_in_the_classifiers_order() -> None:
    names = imagenet_names()
    assert len(names) == 1000
    assert (names[0], names[281], names[340]) == ("tench", "tabby", "zebra")


def test_the_average_over_boxes_is_grid_samples() -> None:
    generator = torch.Generator().manual_seed(1)
    cells = torch.randn(2, 5, 7, 3, generator=generator)
    corner = torch.rand(2, 11, 2, generator=generator) * 160 - 20
    boxes = torch.cat((corner, corner + torch.rand(2, 11, 2, generator=generator) * 120), -1)
    quarters = torch.tensor([0.25, 0.75])
    x = boxes[..., 0:1] + (boxes[..., 2:3] - boxes[..., 0:1]) * quarters
    y = boxes[..., 1:2] + (boxes[..., 3:4] - boxes[..., 1:2]) * quarters
    grid = torch.stack(
        (x[:, :, None].expand(-1, -1, 2, -1), y[..., None].expand(-1, -1, -1, 2)), -1
    )
    grid = grid.reshape(2, 11, 4, 2) / torch.tensor([7 * 32, 5 * 32]) * 2 - 1
    expected = F.grid_sample(
        cells.permute(0, 3, 1, 2), grid, align_corners=False, padding_mode="border"
    ).mean(-1)
    torch.testing.assert_close(average_over_boxes(cells, boxes), expected.transpose(1, 2))


def test_no_opinion_adds_nothing_and_a_clear_one_its_name() -> None:
    knowledge = ImageNetKnowledge(4, embed_dim=3, hidden=8, classes=5)
    names = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    knowledge.names.copy_(names - names.mean(0))
    boxes = torch.tensor([[[0.0, 0, 64, 64]]])
    with torch.no_grad():
        knowledge.classifier.weight.zero_()
        knowledge.classifier.bias.zero_()  # type: ignore[union-attr]
        nothing = knowledge(torch.randn(1, 4, 2, 2), boxes, torch.zeros(1, 1))
        knowledge.classifier.bias[2] = 50.0  # type: ignore[index]
        clear = knowledge(torch.randn(1, 4, 2, 2), boxes, torch.zeros(1, 1))
    torch.testing.assert_close(nothing, torch.zeros(1, 1, 3), atol=1e-6, rtol=0)
    expected = knowledge.strength * knowledge.names[2]
    torch.testing.assert_close(clear[0, 0], expected)


def test_a_box_over_many_cells_is_one_picture_and_the_worst_located_boxes_are_left_out() -> None:
    """The classifier of a pooled map, cell by cell and averaged, is that of the pool."""
    torch.manual_seed(0)
    knowledge = ImageNetKnowledge(4, embed_dim=3, hidden=8, classes=5)
    knowledge.names.normal_()
    c5 = torch.randn(1, 4, 2, 2)
    # The quarters' middles of this box are the middles of the four cells.
    boxes = torch.tensor([[[0.0, 0, 64, 64]] * 16])
    with torch.no_grad():
        added = knowledge(c5, boxes, torch.arange(16.0)[None])
        pooled = F.relu6(knowledge.hidden(c5)).mean(dim=(2, 3), keepdim=True)
        share = (3 * knowledge.classifier(pooled).flatten(1)).softmax(dim=1)  # sharpened
        expected = knowledge.strength * (share @ knowledge.names)
    torch.testing.assert_close(added[0, 14:], expected.expand(2, -1))
    assert (added[0, :14] == 0).all()


def test_a_model_with_knowledge_differs_by_it_and_trains_its_strength_only() -> None:
    torch.manual_seed(0)
    plain = DetCLIPv2(PRESETS["nano"]).eval()
    model = DetCLIPv2(dataclasses.replace(PRESETS["nano"], knowledge=True)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    assert model.knowledge is not None
    torch.nn.init.normal_(model.knowledge.names)
    pixels = torch.randn(2, 3, 64, 64)
    one, other = plain.encode_image(pixels), model.encode_image(pixels)
    torch.testing.assert_close(one.boxes, other.boxes)
    assert not torch.equal(one.embeddings, other.embeddings)
    (other.embeddings - one.embeddings.detach()).square().sum().backward()
    assert model.knowledge.strength.grad is not None
    assert all(p.grad is None for p in model.knowledge.classifier.parameters())
    extra = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("text."))
    assert extra <= 8e6


def test_knowledge_with_its_own_last_stages_follows_c4_and_stays_small() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["nano"], knowledge=True, knowledge_late=True)
    model = DetCLIPv2(config).train()
    assert model.knowledge is not None and model.knowledge.late is not None
    features = model.backbone(torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(model.knowledge.c5(features), features[-1])
    with torch.no_grad():
        for parameter in model.backbone.after_c4().parameters():
            parameter.mul_(0.9)
    changed = model.backbone(torch.randn(1, 3, 64, 64))
    assert not torch.allclose(model.knowledge.c5(changed), changed[-1])
    assert not model.knowledge.c5(changed).requires_grad
    assert not any(m.training for m in model.knowledge.late.modules())
    counted = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("text."))
    assert counted <= 8e6
    with pytest.raises(ValueError, match="knowledge_late"):
        dataclasses.replace(PRESETS["nano"], knowledge_late=True)
    with pytest.raises(ValueError, match="EfficientNet"):
        Backbone("swin_tiny_patch4_window7_224").after_c4()


def test_knowledge_needs_embeddings_that_add_up() -> None:
    with pytest.raises(ValueError, match="knowledge"):
        dataclasses.replace(PRESETS["tiny"], knowledge=True)
