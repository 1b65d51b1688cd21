"""What the rows of the tables are changes of: for each preset a base experiment a row.

Rows that say nothing of data share the preset's usual base. The others get one that has all streams
of their data; what is too much the row drops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from train.ablations.row import Row
from train.configs import paper
from train.data.readers.class_folders import read_class_folders
from train.data.sample import Sample
from train.experiment import Experiment, Volume, epoch_steps
from train.nano import stages
from train.nano.streams import (
    CAPTIONS,
    caption_samples,
    captions,
    detection,
    grounding,
    pairs,
    tags,
)
from train.tasks.pairs_config import TAGS

Base = Callable[[Row, bool], Experiment]
"""Row, shortened to a few steps? → what the row is a change of. Equal rows get equal ones."""

_PAPER = {
    "t_o365": paper.t_o365,
    "t_o365_cc3m": paper.t_o365_cc3m,
    "t_o365_goldg_cc3m": paper.t_o365_goldg_cc3m,
    "t_o365_goldg_cc15m": paper.t_o365_goldg_cc15m,
    "l_o365_goldg_cc15m": paper.l_o365_goldg_cc15m,
}
_IMAGENET = 1_281_167
_REPEAT = 3
_CC3M_OF_CC15M = (3, 13)
_WIDER = replace(stages.NARROW, name="nano_wider", width=160, tower_depth=4, embed_dim=256)


def nano(row: Row, smoke: bool = False) -> Experiment:
    """OV-mini on a CPU; L is a wider neck and head."""
    base = stages.joint(smoke)
    if row.data:
        base = _with_class_names(smoke, fewer="CC3M" in row.data)
    return replace(base, model=_WIDER) if row.large else base


def _with_class_names(smoke: bool, fewer: bool) -> Experiment:
    """Captions and class names as streams of their own; `fewer` captions stand for CC3M."""
    of_pairs = captions()
    if fewer:
        part, whole = _CC3M_OF_CC15M
        of_pairs = pairs(_some_captions, CAPTIONS * part // whole)
    return stages.of_epochs([detection(), grounding(), of_pairs, tags()], smoke)


def _some_captions(root: Path, cache: Path) -> tuple[list[Sample], list[float]]:
    part, whole = _CC3M_OF_CC15M
    samples = [s for i, s in enumerate(caption_samples(root, cache)[0]) if i % whole < part]
    return samples, [1.0] * len(samples)


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
    make = _PAPER.get(name)
    if make is None:
        raise ValueError(f"configs/paper.py has no {name!r}; known: {', '.join(_PAPER)}")
    return make(smoke)


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
