from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from detclipv2.nn.deform import DeformableEntry, deform_conv_bag, deform_conv_grid


def _inputs(batch: int, height: int, width: int, reach: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(batch, 6, height, width), (batch, 18, height, width), (batch, 9, height, width)]
    x, offset, mask = (torch.randn(s, generator=generator, dtype=torch.double) for s in shapes)
    weight = torch.randn(5, 6, 3, 3, generator=generator, dtype=torch.double)
    return [
        t.requires_grad_() for t in (x, (offset * reach).detach(), mask.sigmoid().detach(), weight)
    ]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (3, 8, 4)])
@pytest.mark.parametrize("reach", [0.3, 6.0])
def test_bag_equals_torchvision_in_value_and_all_gradients(
    shape: tuple[int, int, int], reach: float
) -> None:
    ours, theirs = _inputs(*shape, reach), _inputs(*shape, reach)
    one = deform_conv_bag(*ours)
    other = deform_conv2d(theirs[0], theirs[1], theirs[3], padding=1, mask=theirs[2])
    torch.testing.assert_close(one, other)
    target = torch.randn(one.shape, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    (one * target).sum().backward()
    (other * target).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (3, 8, 4)])
@pytest.mark.parametrize("reach", [0.3, 6.0])
def test_the_traced_kernel_equals_the_others(shape: tuple[int, int, int], reach: float) -> None:
    inputs = _inputs(*shape, reach)
    torch.testing.assert_close(deform_conv_grid(*inputs), deform_conv_bag(*inputs))


def test_half_precision_keeps_the_places_on_a_wide_map() -> None:
    """A bf16 number has eight bits: beyond pixel 256 it cannot tell two neighbours apart."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 4, 2, 600, generator=generator)
    offset = torch.randn(1, 18, 2, 600, generator=generator).bfloat16()
    mask, weight = torch.rand(1, 9, 2, 600, generator=generator), torch.randn(5, 4, 3, 3)
    exact = deform_conv_bag(x, offset.float(), mask, weight)
    half = deform_conv_bag(x.bfloat16(), offset, mask.bfloat16(), weight.bfloat16())
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.2)


def test_a_fresh_entry_is_a_plain_convolution() -> None:
    entry = DeformableEntry(8)
    feature, regression = torch.randn(2, 8, 6, 5), torch.randn(2, 8, 6, 5)
    plain = F.conv2d(feature, entry.weight, padding=1)
    torch.testing.assert_close(entry(feature, regression), plain)
    torch.testing.assert_close(entry(feature, None), plain)


def test_the_classification_gradient_reaches_the_regression_features() -> None:
    torch.manual_seed(0)
    entry = DeformableEntry(8)
    torch.nn.init.normal_(entry.steer.weight, std=0.1)
    regression = torch.randn(1, 8, 6, 5, requires_grad=True)
    entry(torch.randn(1, 8, 6, 5), regression).sum().backward()
    assert regression.grad is not None and regression.grad.abs().sum() > 0
