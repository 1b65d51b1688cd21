"""What an experiment is: one frozen value that says everything about a run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from detclipv2.config import ModelConfig
from detclipv2.nano.config import NanoConfig
from detclipv2.serving import ServingConfig
from train.data.sample import Sample
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.loop.distributed import Parallel
from train.loop.optim import OptimConfig
from train.loop.run import LoopConfig
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs_config import PairsConfig

Readers = Callable[[Path, Path], tuple[Sequence[Sample], Sequence[float]]]
"""Root folder of the data, folder for what is costly to make (the run's) → samples, and how often
an epoch shows each."""


@dataclass(frozen=True)
class Volume:
    """How much data a stream is meant for, where one plans without having it.

    `names` is how many different texts its boxes have, 0 for as many as the dictionary.
    """

    samples: int
    names: int = 0


@dataclass(frozen=True)
class Stream:
    """One data type: where its samples come from, how they are batched and learned from.

    Attributes:
        name: in logs and overrides, for example "pairs".
        data: its samples.
        task: `BoxesConfig` for detection and grounding data, `PairsConfig` for image-text pairs.
        batches: batch and canvas sizes.
        augmentation: how strongly views vary.
        weight: its share of the steps relative to visiting every data set equally often.
        own_concepts: concepts of a photo at most in one view.
        cache_gib: decoded photos kept in memory by each worker.
        volume: what is meant, for the plan.
    """

    name: str
    data: Readers
    task: BoxesConfig | PairsConfig
    batches: BatchConfig = field(default_factory=BatchConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    weight: float = 1.0
    own_concepts: int = 150
    cache_gib: float = 2.0
    volume: Volume | None = None


@dataclass(frozen=True)
class Experiment:
    """A training run.

    Attributes:
        model: what is trained.
        nano: what it has beyond the paper; None for nothing.
        serving: how its checkpoint is used, for evaluation; None for that of `model`'s preset.
        streams: the data types; one of them has its turn at each step.
        loop: length, precision and intervals.
        optim: rates and averaging.
        temperature: how strongly the size of a data set says how often it has its turn.
        out: run folder.
        root: folder of the data, where `data` needs one; also of the zero-shot evaluation.
        backbone_weights: see `imagenet_weights`; empty for random ones.
        text_weights: a text tower that learns begins with the weights of `model.text.source`, not
            with random ones, unless `init` has others; a frozen one always has those of its source.
        init: a checkpoint to begin with, by name or folder; empty for none.
        freeze: backbone stages without gradient.
        freeze_depthwise: depthwise kernels of the other stages get none, either.
        checkpointing: compute activations anew in the backward pass instead of keeping them.
        parallel: "ddp" or "fsdp", where several processes train.
        workers: decoding processes.
        threads: CPU threads of the training process; 0 for torch's choice.
        seed: of everything.
    """

    model: ModelConfig
    streams: tuple[Stream, ...]
    loop: LoopConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    temperature: float = 1.0
    out: Path = Path("runs/pretrain")
    root: Path = Path("data")
    backbone_weights: str = ""
    text_weights: bool = False
    init: str = ""
    freeze: int = 0
    freeze_depthwise: bool = False
    checkpointing: bool = False
    parallel: Parallel = "ddp"
    workers: int = 1
    threads: int = 0
    seed: int = 0
    nano: NanoConfig | None = None
    serving: ServingConfig | None = None

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"streams need names of their own, got {names}")


def epoch_steps(streams: Sequence[Stream]) -> float:
    """Weighted steps of an epoch; 0 where the volume of a stream is not known."""
    if not all(stream.volume for stream in streams):
        return 0.0
    return sum(s.weight * s.volume.samples / s.batches.batch for s in streams if s.volume)


def override(value: Any, assignments: Sequence[str]) -> Any:
    """A copy of a configuration with `key=value` words applied, nested keys with dots.

    A stream goes by its name: `streams.pairs.batches.batch=256`. Values are Python literals where
    the field holds one; paths and strings are taken as written.

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
    if isinstance(value, tuple) and value and hasattr(value[0], "name"):
        members = {member.name: member for member in value}
        if path[0] not in members or len(path) == 1:
            raise ValueError(f"unknown key {key!r}; known here: {', '.join(members)} and a dot")
        members[path[0]] = _set(members[path[0]], path[1:], text, key)
        return tuple(members.values())
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
    return [describe(member) for member in value] if isinstance(value, tuple) else value
