"""Experiments are changed by `key=value` words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.train.loop.drawn import drawn_experiment
from train.experiment import describe, override


def test_overrides_reach_nested_keys_and_refuse_unknown_ones(tmp_path: Path) -> None:
    experiment = drawn_experiment(tmp_path / "x.json", tmp_path)
    changed = override(
        experiment, ["optim.lr=1", "streams.pairs.batches.sizes=(96, 128)", "out=a b", "seed=4"]
    )
    assert changed.optim.lr == 1.0 and changed.streams[2].batches.sizes == (96, 128)
    assert changed.out == Path("a b") and changed.seed == 4
    for wrong, message in [
        ("optim.speed=3", "unknown key 'optim.speed'"),
        ("seed", "key=value"),
        ("seed=fast", "expected int"),
        ("streams.sound.weight=1", "detection, grounding, pairs"),
        ("streams.pairs.batches.batch=0", "batch must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            override(experiment, [wrong])
    assert json.dumps(describe(changed))
