"""What the rows of the tables are changes of: for each preset a base experiment a row.

Rows that say nothing of data share the preset's usual base. The others get one that has all streams
of their data; what is too much the row drops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from detclipv2.config import PRESETS
from train.ablations.changes import TAGS
from train.ablations.row import Row, epoch_steps
from train.data.readers.class_folders import read_class_folders
from train.data.sample import Sample
from train.experiment import Experiment, Volume
from train.nano import joint as nano_joint
from train.pretrain import load_experiment

Base = Callable[[Row, bool], Experiment]
"""Row, shortened to a few steps? → what the row is a change of. Equal rows get equal ones."""

_IMAGENET = 1_281_167
_REPEAT = 3
_WIDER = replace(PRESETS["nano"], name="nano_wider", width=160, tower_depth=4, embed_dim=256)


def nano(row: Row, smoke: bool = False) -> Experiment:
    """OV-mini on a CPU; L is a wider neck and head."""
    base = nano_joint.experiment(smoke)
    if row.data:
        base = nano_joint.apart(smoke, fewer="CC3M" in row.data)
    return replace(base, model=_WIDER) if row.large else base


def swin_t(row: Row, smoke: bool = False) -> Experiment:
    """The paper's own settings, by the name of the data; ImageNet lies in root/imagenet.

    Raises:
        ValueError: no function of configs/paper.py describes it.
    """
    data = [name for name in row.data or ("O365", "CC3M") if name != "IN1k"]
    if row.table == "types":
        data = ["O365", "GoldG", "CC15M"]  # the row drops what it does without
    name = "_".join(["l" if row.large else "t", *(d.lower() for d in data)])
    base = _paper(name, smoke)
    return _with_imagenet(base, smoke) if "IN1k" in row.data else base


BASES: dict[str, Base] = {"nano": nano, "swin_t": swin_t}
"""By preset."""


@cache
def _paper(name: str, smoke: bool) -> Experiment:
    # Made once: its readers are made anew each time, and would make equal experiments unequal.
    return load_experiment(f"paper:{name}", smoke=smoke)


def _with_imagenet(base: Experiment, smoke: bool) -> Experiment:
    """With a stream of tags beside the others, as many epochs of it as of them."""
    like = next((s for s in base.streams if s.name == "pairs"), None)
    if like is None:
        like = next(s for s in _paper("t_o365_cc3m", smoke).streams if s.name == "pairs")
    tags = replace(like, name="tags", data=_imagenet, task=TAGS, volume=Volume(_REPEAT * _IMAGENET))
    streams = (*base.streams, tags)
    steps = base.loop.steps
    if not smoke:
        steps = round(steps * epoch_steps(streams) / epoch_steps(base.streams))
    return replace(base, streams=streams, loop=replace(base.loop, steps=steps))


def _imagenet(root: Path, _: Path) -> tuple[Sequence[Sample], Sequence[float]]:
    samples = list(read_class_folders(root / "imagenet"))
    return samples, [float(_REPEAT)] * len(samples)
