"""The faster backbone says the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet
from detclipv2.nn.fold import folded


def _norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_folded_features_are_the_trained_ones(name: str) -> None:
    backbone = Backbone(name).eval()
    load_imagenet(backbone, imagenet_weights(name, "package"))
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    fast = folded(backbone)
    assert _norms(fast) == 0 and _norms(backbone) > 30
    pixels = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for given, wanted in zip(fast(pixels), backbone(pixels), strict=True):
            torch.testing.assert_close(given, wanted, atol=1e-3, rtol=1e-3)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


def test_swin_is_left_as_it_is() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224")
    assert folded(backbone) is backbone


def test_a_norm_without_its_convolution_is_named() -> None:
    backbone = Backbone("test_efficientnet")
    backbone.net.bn1 = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="no convolution for '0' of a Sequential"):
        folded(backbone)


def test_a_model_for_inference_shares_all_but_its_backbone(tiny_model: DetCLIPv2) -> None:
    fast = tiny_model.for_inference()
    assert (
        fast.image_tower.head is tiny_model.image_tower.head
        and fast.text_encoder is tiny_model.text_encoder
    )
    assert _norms(tiny_model.image_tower.backbone) > 0 and _norms(fast.image_tower.backbone) == 0
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given, wanted = fast.encode_image(pixels), tiny_model.encode_image(pixels)
    torch.testing.assert_close(given.boxes, wanted.boxes, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(given.embeddings, wanted.embeddings, atol=1e-3, rtol=1e-3)
    fast.image_tower.head = nn.Identity()  # type: ignore[assignment]
    assert tiny_model.image_tower.head is not fast.image_tower.head
