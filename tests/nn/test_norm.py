"""Group norm keeps its precision where the maps around it do not."""

from __future__ import annotations

import torch
from torch import nn

from detclipv2.nn.norm import GroupNorm


def _maps() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    # A mean far from zero, as after ReLU: what half precision loses first.
    return torch.randn(2, 32, 9, 13, generator=generator) + 3


def test_in_single_precision_it_is_torchs() -> None:
    ours, theirs = GroupNorm(8, 32), nn.GroupNorm(8, 32)
    torch.testing.assert_close(ours(_maps()), theirs(_maps()), rtol=0, atol=0)


def test_half_precision_goes_in_and_comes_out() -> None:
    norm, maps = GroupNorm(8, 32), _maps().bfloat16().requires_grad_()
    given = norm(maps)
    assert given.dtype == torch.bfloat16
    exact = norm(maps.float())
    assert float((given - exact).detach().abs().max()) <= 2**-7, "one rounding, at the end"
    given.square().sum().backward()
    assert maps.grad is not None and maps.grad.dtype == torch.bfloat16
    assert maps.grad.isfinite().all() and maps.grad.abs().sum() > 0


def test_autocast_changes_nothing() -> None:
    norm, maps = GroupNorm(8, 32), _maps().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm(maps), norm(maps.float()).bfloat16())
