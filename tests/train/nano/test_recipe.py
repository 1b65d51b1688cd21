"""The recipe is what made the embedded checkpoint, as far as its provenance tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detclipv2.assets import FOLDER
from train.experiment import describe
from train.nano.recipe import RECIPE, Step
from train.nano.steps import experiment_of

PROVENANCE = {
    entry["name"]: entry
    for entry in json.loads((FOLDER / "nano" / "provenance.json").read_text(encoding="utf-8"))
}
RECORDED = [s for s in RECIPE if "experiment" in PROVENANCE.get(s.name, {})]
# What changes no weight, or was renamed since.
_ASIDE = {"eval_minutes", "data"}


def differences(recorded: Any, now: Any, path: str = "") -> list[str]:
    """Where what was recorded is otherwise now; fields that came or went since do not count."""
    if isinstance(recorded, dict):
        keys = recorded.keys() & now.keys() - _ASIDE
        return [d for k in keys for d in differences(recorded[k], now[k], f"{path}.{k}")]
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        pairs = zip(recorded, now, strict=True)
        return [d for a, b in pairs for d in differences(a, b, path)]
    return [] if recorded == now else [path]


def test_the_recipes_steps_are_those_of_the_provenance() -> None:
    assert [step.name for step in RECIPE[:-1]] == list(PROVENANCE)
    for step in RECIPE[:-1]:
        entry = PROVENANCE[step.name]
        told = (entry["kind"], tuple(entry["inputs"]), entry["settings"])
        assert told == (step.kind, step.inputs, dict(step.settings)), step.name
    assert len(RECORDED) == 11


@pytest.mark.parametrize("step", RECORDED, ids=lambda step: step.name)
def test_a_stage_is_what_was_trained(step: Step) -> None:
    now = json.loads(json.dumps(describe(experiment_of(step))))
    changed = differences(PROVENANCE[step.name]["experiment"], now)
    # The rate of a backbone without gradient.
    assert changed == ([".optim.backbone"] if step.name == "boxes" else [])
