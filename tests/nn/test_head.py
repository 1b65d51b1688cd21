from __future__ import annotations

import pytest
import torch

from detclipv2.nn.fpn import FeaturePyramid
from detclipv2.nn.head import ATSSHead


def test_pyramid_sizes_halve_up_to_p7() -> None:
    pyramid = FeaturePyramid((4, 6, 8), 16)
    maps = pyramid([torch.randn(2, 4, 12, 20), torch.randn(2, 6, 6, 10), torch.randn(2, 8, 3, 5)])
    assert [tuple(m.shape) for m in maps] == [
        (2, 16, 12, 20),
        (2, 16, 6, 10),
        (2, 16, 3, 5),
        (2, 16, 2, 3),
        (2, 16, 1, 2),
    ]


@pytest.mark.parametrize(("deformable", "reached"), [(True, True), (False, False)])
def test_only_the_deformable_entry_links_words_to_the_regression_tower(
    deformable: bool, reached: bool
) -> None:
    """Paper §3.3: image-text pairs train no box, yet their gradient must reach the tower."""
    torch.manual_seed(0)
    head = ATSSHead(16, 1, 8, deformable=deformable)
    if head.entry is not None:
        torch.nn.init.normal_(head.entry.steer.weight, std=0.05)
    embeddings, *_ = head([torch.randn(1, 16, 8, 8)])
    embeddings.square().sum().backward()
    got = [p.grad is not None and bool(p.grad.any()) for p in head.regression_tower.parameters()]
    assert any(got) is reached


def test_on_levels_finer_than_deform_min_level_the_points_stay() -> None:
    torch.manual_seed(0)
    head = ATSSHead(16, 1, 8, deform_min_level=1)
    assert head.entry is not None
    fine, coarse = torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        before, *_ = head([fine, coarse])
        torch.nn.init.normal_(head.entry.steer.weight, std=0.5)
        after, *_ = head([fine, coarse])
    torch.testing.assert_close(before[:, :64], after[:, :64])
    assert (before[:, 64:] - after[:, 64:]).abs().max() > 1e-6


def test_each_level_scales_its_own_boxes() -> None:
    head = ATSSHead(16, 1, 8)
    maps = [torch.randn(1, 16, 4, 4), torch.randn(1, 16, 2, 2)]
    with torch.no_grad():
        _, before, *_ = head(maps)
        head.scales[1] *= 2
        _, after, *_ = head(maps)
    torch.testing.assert_close(after[:, :16], before[:, :16])
    torch.testing.assert_close(after[:, 16:], 2 * before[:, 16:])


def test_fresh_quality_branches_say_that_hardly_anything_is_foreground() -> None:
    torch.manual_seed(0)
    head = ATSSHead(16, 1, 8, quality=True)
    maps = [torch.randn(1, 16, side, side) for side in (8, 4, 2, 1, 1)]
    quality = head(maps)[3]
    assert quality is not None
    foreground, iou = quality.detach().sigmoid().mean(dim=(0, 1))
    assert 0.005 < float(foreground) < 0.02 and 0.4 < float(iou) < 0.6
