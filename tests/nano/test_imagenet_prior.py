from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
import torch.nn.functional as F

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.imagenet_prior import ImageNetPrior, average_over_boxes, imagenet_names
from detclipv2.nano.tower import NanoTower, build
from detclipv2.nn.backbone import imagenet_weights


def test_the_folded_classifier_is_timms() -> None:
    weights = imagenet_weights("tf_efficientnet_lite0", "package")
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(weights)
    prior = ImageNetPrior(320, embed_dim=4)
    prior.load(weights, torch.zeros(1000, 4))
    c5 = torch.randn(1, 320, 3, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = net.bn2(net.conv_head(c5))
        # One cell is its own pooling.
        expected = net.forward_head(hidden[:, :, 1:2, 1:2])
        torch.testing.assert_close(prior.logits(c5)[:, :, 1, 1], expected, rtol=1e-3, atol=1e-4)
    names = torch.randn(1000, 4)
    prior.load(weights, names)
    torch.testing.assert_close(prior.names, names - names.mean(0))
    with pytest.raises(ValueError, match="3 names for 1000"):
        prior.load(weights, torch.zeros(3, 4))


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
    prior = ImageNetPrior(4, embed_dim=3, hidden=8, classes=5)
    names = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    prior.names.copy_(names - names.mean(0))
    boxes = torch.tensor([[[0.0, 0, 64, 64]]])
    with torch.no_grad():
        prior.classifier.weight.zero_()
        prior.classifier.bias.zero_()  # type: ignore[union-attr]
        nothing = prior(torch.randn(1, 4, 2, 2), boxes, torch.zeros(1, 1))
        prior.classifier.bias[2] = 50.0  # type: ignore[index]
        clear = prior(torch.randn(1, 4, 2, 2), boxes, torch.zeros(1, 1))
    torch.testing.assert_close(nothing, torch.zeros(1, 1, 3), atol=1e-6, rtol=0)
    expected = prior.strength * prior.names[2]
    torch.testing.assert_close(clear[0, 0], expected)


def test_a_box_over_many_cells_is_one_picture_and_the_worst_located_boxes_are_left_out() -> None:
    """The classifier of a pooled map, cell by cell and averaged, is that of the pool."""
    torch.manual_seed(0)
    prior = ImageNetPrior(4, embed_dim=3, hidden=8, classes=5)
    prior.names.normal_()
    c5 = torch.randn(1, 4, 2, 2)
    # The quarters' middles of this box are the middles of the four cells.
    boxes = torch.tensor([[[0.0, 0, 64, 64]] * 16])
    with torch.no_grad():
        added = prior(c5, boxes, torch.arange(16.0)[None])
        pooled = F.relu6(prior.hidden(c5)).mean(dim=(2, 3), keepdim=True)
        share = (3 * prior.classifier(pooled).flatten(1)).softmax(dim=1)  # sharpened
        expected = prior.strength * (share @ prior.names)
    torch.testing.assert_close(added[0, 14:], expected.expand(2, -1))
    assert (added[0, :14] == 0).all()


def test_a_tower_with_the_prior_differs_by_it_and_trains_its_strength_only() -> None:
    torch.manual_seed(0)
    narrow = dataclasses.replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96)
    plain = DetCLIPv2(narrow).eval()
    model = build(narrow, NanoConfig(imagenet_prior=True)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    assert isinstance(model.image_tower, NanoTower) and model.image_tower.prior is not None
    prior = model.image_tower.prior
    torch.nn.init.normal_(prior.names)
    pixels = torch.randn(2, 3, 64, 64)
    one, other = plain.encode_image(pixels), model.encode_image(pixels)
    torch.testing.assert_close(one.boxes, other.boxes)
    assert not torch.equal(one.embeddings, other.embeddings)
    (other.embeddings - one.embeddings.detach()).square().sum().backward()
    assert prior.strength.grad is not None
    assert all(p.grad is None for p in prior.classifier.parameters())
    assert sum(p.numel() for p in model.image_tower.parameters()) <= 8e6


def test_the_prior_needs_embeddings_that_add_up() -> None:
    with pytest.raises(ValueError, match="imagenet_prior"):
        build(PRESETS["tiny"], NanoConfig(imagenet_prior=True))
    with pytest.raises(ValueError, match=r"prior_ranking 'iou' needs model\.quality"):
        NanoConfig(prior_ranking="iou").check(PRESETS["tiny"])
