from __future__ import annotations

import pytest
import torch

from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_packaged_imagenet_weights_recognise_a_cat(name: str) -> None:
    """The renaming is right only if the classifier still works on a real photo."""
    import timm
    from PIL import Image

    from detclipv2.assets import FOLDER

    weights = imagenet_weights(name, "package")
    net = timm.create_model(name).eval()
    net.load_state_dict(weights, strict=True)
    photo = Image.open(FOLDER / "demo" / "chelsea.jpg").convert("RGB").resize((224, 224))
    pixels = torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8).reshape(224, 224, 3)
    with torch.no_grad():
        top = net(((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]).topk(3).indices[0]
    assert set(top.tolist()) & set(range(281, 286))  # ImageNet's five kinds of house cat


def test_loaded_features_are_the_classifiers() -> None:
    backbone = Backbone("tf_efficientnet_lite0")
    weights = imagenet_weights("tf_efficientnet_lite0", "package")
    load_imagenet(backbone, weights)
    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_unknown_sources_and_misfits_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        imagenet_weights("tf_efficientnet_lite0", "nowhere.pth")
    with pytest.raises(ValueError, match="no installed package"):
        imagenet_weights("test_efficientnet", "package")
    with pytest.raises(ValueError, match="lacks"):
        load_imagenet(Backbone("test_efficientnet"), {})


@pytest.mark.parametrize("name", ["test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_levels_stand_at_strides_8_16_32_of_any_shape(name: str) -> None:
    backbone = Backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    shapes = [(c, 64 // s, 96 // s) for c, s in zip(backbone.channels, (8, 16, 32), strict=True)]
    assert [tuple(m.shape[1:]) for m in maps] == shapes


def test_the_windows_of_swins_last_stage_are_shifted_on_large_photos() -> None:
    torch.manual_seed(0)
    stage = Backbone("swin_tiny_patch4_window7_224").net.layers_3.eval()
    c4 = torch.randn(1, 28, 28, 384)  # C5 has two windows a side
    changed = c4.clone()
    changed[:, :14, :14] = torch.randn(14, 14, 384)
    with torch.no_grad():
        moved = (stage(changed) - stage(c4)).abs().amax(dim=-1)[0] > 0
    assert moved[:7, :7].all()
    assert moved[:7, 7:].any() and moved[7:, :7].any()


def test_batch_norms_keep_their_statistics_in_training() -> None:
    backbone = Backbone("test_efficientnet").train()
    before = {n: b.clone() for n, b in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(before[n], b) for n, b in backbone.named_buffers())


@pytest.mark.parametrize("name", ["test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_frozen_stages_get_no_gradient_and_later_ones_do(name: str) -> None:
    backbone = Backbone(name).train()
    backbone.freeze(2)
    sum(m.sum() for m in backbone(torch.randn(1, 3, 64, 64))).backward()
    stages = backbone.stages
    assert all(p.grad is None for s in stages[:3] for p in s.parameters())
    assert any(p.grad is not None for p in stages[3].parameters())
    with pytest.raises(ValueError, match="stages"):
        backbone.freeze(99)


def test_depthwise_kernels_can_stay_while_the_rest_of_their_stages_learns() -> None:
    backbone = Backbone("tf_efficientnet_lite0").train()
    backbone.freeze(3, depthwise=True)
    sum(m.sum() for m in backbone(torch.randn(1, 3, 64, 64))).backward()
    for name, parameter in backbone.named_parameters():
        learns = int(name.split(".")[2]) >= 3 if "blocks" in name else False
        depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
        assert (parameter.grad is not None) == (learns and not depthwise), name
