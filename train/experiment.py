"""What an experiment is: one frozen value that says everything about a run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from detclipv2.config import ModelConfig
from train.data.sample import Sample
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.engine import LoopConfig
from train.optim import OptimConfig
from train.task import LossConfig


@dataclass(frozen=True)
class Experiment:
    """A training run.

    Attributes:
        model: what is trained.
        data: samples and their repeats an epoch; called once.
        loop: length and intervals.
        batches: batch and canvas sizes.
        augmentation: how strongly views vary.
        optim: rates and averaging.
        losses: weights.
        out: run folder.
        root: folder of the data, where `data` needs one; also of the zero-shot evaluation.
        backbone_weights: see `imagenet_weights`; empty for random ones.
        freeze: backbone stages without gradient.
        max_concepts: concepts of a photo in one view.
        workers: decoding processes.
        threads: CPU threads of the training process; 0 for torch's choice.
        cache_gib: decoded photos kept in memory by each worker.
        seed: of everything.
    """

    model: ModelConfig
    data: Callable[[Path], tuple[Sequence[Sample], Sequence[float]]]
    loop: LoopConfig
    batches: BatchConfig = field(default_factory=BatchConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optim: OptimConfig = field(default_factory=OptimConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    out: Path = Path("runs/pretrain")
    root: Path = Path("data")
    backbone_weights: str = ""
    freeze: int = 0
    max_concepts: int = 12
    workers: int = 1
    threads: int = 0
    cache_gib: float = 4.0
    seed: int = 0


def override(value: Any, assignments: Sequence[str]) -> Any:
    """A copy of a configuration with `key=value` words applied, nested keys with dots.

    Values are Python literals where the field holds one; paths and strings are taken as written.

    Raises:
        ValueError: an unknown key or a value of the wrong kind; the message lists the known keys.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment!r}: write key=value")
        value = _set(value, key.split("."), text, key)
    return value


def _set(value: Any, path: list[str], text: str, key: str) -> Any:
    known = {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(value) else {}
    if path[0] not in known:
        raise ValueError(f"unknown key {key!r}; known here: {', '.join(known) or 'nothing'}")
    old = known[path[0]]
    if len(path) > 1:
        return replace(value, **{path[0]: _set(old, path[1:], text, key)})
    return replace(value, **{path[0]: _parse(text, old, key)})


def _parse(text: str, old: Any, key: str) -> Any:
    if isinstance(old, str):
        return text
    if isinstance(old, Path):
        return Path(text)
    try:
        new = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        new = text
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        new = float(new)
    if type(new) is not type(old):
        raise ValueError(f"{key}={text}: expected {type(old).__name__}, like {old!r}")
    return new


def describe(value: Any) -> Any:
    """A configuration as JSON values, for the run folder and the checkpoint's card."""
    if is_dataclass(value):
        return {f.name: describe(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return list(value) if isinstance(value, tuple) else value
