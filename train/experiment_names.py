"""Experiments by the names that commands take: MODULE:FUNCTION of train/configs, or nano:STAGE."""

from __future__ import annotations

import importlib
import inspect
import logging
from pathlib import Path

from train.experiment import Experiment

logger = logging.getLogger(__name__)

_FORMER_STAGES = {
    "": "joint",
    "shipped": "with_pairs",
    "pseudo": "pseudo_boxes",
    "partner": "second_tower",
}


def load_experiment(name: str, smoke: bool = False) -> Experiment:
    """The experiment that MODULE or MODULE:FUNCTION of train/configs describes, or nano:STAGE.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    folder = Path(__file__).parent / "configs"
    modules = {p.stem: f"train.configs.{p.stem}" for p in folder.glob("*.py") if p.stem[0] != "_"}
    modules["nano"] = "train.nano.stages"
    if (new := _respelled(name)) != name:
        logger.warning("%s is called %s now", name, new)
    module_name, _, function = new.partition(":")
    if module_name not in modules:
        raise ValueError(f"unknown config {name!r}; known: {', '.join(sorted(modules))}")
    module = importlib.import_module(modules[module_name])
    made = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and key[0] != "_"
        and list(inspect.signature(value).parameters) == ["smoke"]
    }
    if function not in made:
        known = ", ".join(f"{module_name}:{key}" for key in made)
        raise ValueError(f"{name!r} names no experiment; known: {known}")
    experiment: Experiment = made[function](smoke=smoke)
    return experiment


def _respelled(name: str) -> str:
    """The present name of an experiment that had another one before."""
    if name == "nano_boxes":
        return "nano:boxes"
    module, _, stage = name.partition(":")
    return f"nano:{_FORMER_STAGES.get(stage, stage)}" if module == "nano_joint" else name
