"""A frozen text tower is asked for a text once, whichever run wants it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from detclipv2.nn.text_encoder import TextEncoder
from tests.train.conftest import draw_set
from tests.train.loop.drawn import drawn_experiment
from train.experiment import override
from train.pretrain import pretrain
from train.tasks.text_encoding import Texts

FROZEN = dataclasses.replace(
    PRESETS["tiny"], embed_dim=16, text=dataclasses.replace(PRESETS["tiny"].text, frozen=True)
)


def _model(seed: int = 0) -> DetCLIPv2:
    torch.manual_seed(seed)
    return DetCLIPv2(FROZEN).eval()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that reached a text tower."""
    prompts: list[str] = []
    original = TextEncoder.pooled

    def record(self: TextEncoder, texts: Sequence[str]) -> torch.Tensor:
        prompts.extend(texts)
        return original(self, texts)

    monkeypatch.setattr(TextEncoder, "pooled", record)
    return prompts


def test_the_disk_serves_other_runs_of_the_same_tower(read: list[str], tmp_path: Path) -> None:
    model = _model()
    names = ["red mug", "cat", "a cat", "two zebras on a hill", "cat"]
    kept = Texts(model, tmp_path).keep(names)
    assert len(kept) == len(read) == 3
    again = Texts(model, tmp_path)
    with torch.no_grad():  # another projection, the same tower
        model.text_encoder.projection.weight.normal_()
    assert torch.equal(again.keep(reversed(names)), kept[[1, 2, 0]])
    assert torch.equal(again.plain(names), kept[[0, 1, 1, 2, 1]])
    found = again(["two zebras on a hill", "dog"])
    assert isinstance(found, torch.Tensor) and torch.equal(found[0], kept[2])
    assert len(read) == 4 and "dog" in read[3]
    Texts(_model(1), tmp_path).keep(["cat"])
    assert len(read) == 5


def test_without_a_folder_nothing_is_kept(read: list[str]) -> None:
    model = _model()
    one, two = (Texts(model).plain(["cat", "a red mug"]) for _ in range(2))
    torch.testing.assert_close(one, two)
    assert len(read) == 4


def test_the_dictionary_is_read_only_where_it_is_asked(
    read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETCLIPV2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(TextEncoder, "load_pretrained", lambda self: None)  # none is so small
    drawn = draw_set(tmp_path / "drawn")
    whole = dataclasses.replace(drawn_experiment(drawn, tmp_path / "one", steps=1), model=FROZEN)
    boxes = dataclasses.replace(whole, streams=whole.streams[:1])
    pretrain(boxes)  # from nothing: the projection begins at all that has a name
    assert len(set(read)) > 10_000
    read.clear()
    begun = dataclasses.replace(
        boxes, out=tmp_path / "two", init=str(tmp_path / "one" / "checkpoint")
    )
    monkeypatch.setenv("DETCLIPV2_CACHE", str(tmp_path / "other cache"))
    pretrain(begun)
    assert 0 < len(set(read)) < 100
    read.clear()
    pretrain(
        override(
            dataclasses.replace(begun, out=tmp_path / "three"),
            ["streams.detection.task.negatives=dictionary"],
        )
    )
    assert len(set(read)) > 10_000
