from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import finish, start, two
from tests.train.loop.two_processes import CASES, SEEDS, frozen_words, gradients, write_gradients
from train.loop.distributed import World, own_share


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, int], Any]:
    return {(c, seed): gradients(c, seed, World(), "ddp") for c in CASES for seed in SEEDS}


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(
    alone: dict[tuple[str, int], Any], tmp_path: Path, parallel: str
) -> None:
    """All data types; uneven numbers of concepts; the second process has no box at all."""
    out, said = tmp_path / "two.pt", tmp_path / "said"
    finish(start(two, write_gradients, out, parallel, log=said), said)
    shared = torch.load(out)
    for case in CASES:
        apart = {}
        for seed in SEEDS:
            expected, found = alone[case, seed], shared[case, seed]
            for name, loss in expected["losses"].items():
                torch.testing.assert_close(found["losses"][name], loss, rtol=1e-5, atol=1e-5)
            assert any((g != 0).any() for g in expected["gradients"].values())
            second = [n for n in expected["gradients"] if n.startswith("image_tower.second.")]
            assert bool(second) == case.endswith("two towers")
            if wrong := _apart(expected["gradients"], found["gradients"]):
                apart[seed] = wrong
        assert len(apart) <= 1, (case, apart)  # at most one draw of weights lies on a kink
    late = shared["frozen words", 0]["pooled"]
    torch.testing.assert_close(late, frozen_words(World(), "ddp"))


def _apart(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> list[str]:
    """What differs: the whole gradient by more than 1e-5 of its length, or single parameters."""
    assert expected.keys() == found.keys()
    off = {name: found[name] - gradient for name, gradient in expected.items()}
    # Single precision sums in another order; hence ten times as much for one parameter alone.
    wrong = [
        name
        for name, gradient in expected.items()
        if float(off[name].abs().max()) > max(1e-5, 1e-4 * float(gradient.abs().max()))
    ]
    return ["the whole", *wrong] if _length(off) > 1e-5 * _length(expected) else wrong


def _length(gradients: dict[str, torch.Tensor]) -> float:
    return float(torch.stack([g.norm() for g in gradients.values()]).norm())


def test_shares_of_a_list_are_contiguous_and_complete() -> None:
    for size in (1, 2, 3, 5):
        parts = [own_share(list("abcdefg"), World(rank, size)) for rank in range(size)]
        assert [letter for part in parts for letter in part] == list("abcdefg")
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
