"""The state of a run on disk: one file, or with sharded parameters a folder of shards."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detclipv2.checkpoint_v1 import renamed
from train.loop.distributed import World
from train.loop.optim import MovingAverage

logger = logging.getLogger(__name__)

STATE = "last.pt"
SHARDS = "last.shards"
_BEFORE = "last.before.pt"
_SHARDS_BEFORE = "last.shards.old"
_META = "meta.pt"


class StateError(ValueError):
    """A run whose states are all damaged; the message names them and says what to do."""


def save_state(
    folder: Path,
    state: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    world: World,
    sharded: bool,
) -> None:
    """Write a run's state and keep the one before; a kill at any moment leaves one that is whole.

    Args:
        folder: of the run.
        state: with `model`, `optimizer`, `average` and whatever else is small.
        model: of a sharded run.
        optimizer: of a sharded run.
        world: all of its processes call this.
        sharded: every process writes its own part.
    """
    if not sharded:
        if world.main:
            _write(folder, state)
        world.barrier()
        return
    from torch.distributed.checkpoint.state_dict_saver import save

    partial, final = folder / (SHARDS + ".partial"), folder / SHARDS
    if world.main:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    world.barrier()
    save(_sharded_parts(model, optimizer, state["average"]), checkpoint_id=partial)
    if world.main:
        small = {k: v for k, v in state.items() if k not in ("model", "optimizer", "average")}
        small["updates"] = state["average"]["updates"]
        torch.save(small, partial / _META)
        for path in (*partial.iterdir(), partial):
            _to_disk(path)
        if final.exists():
            shutil.rmtree(folder / _SHARDS_BEFORE, ignore_errors=True)
            os.replace(final, folder / _SHARDS_BEFORE)
        os.replace(partial, final)
        _to_disk(folder)
    world.barrier()


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    sharded: bool,
) -> dict[str, Any] | None:
    """Put a run's state back in place; the rest of it is returned, None where there is none.

    Where the last one is damaged, the run goes on from the one before, and says so. A sharded state
    can be read by another number of processes than wrote it.

    Raises:
        StateError: all are damaged.
    """
    if sharded:
        return _load_shards(folder, model, optimizer, average)
    state = _read(folder)
    if state is None:
        return None
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in renamed(state.pop("model")).items():
            parameters[name].copy_(tensor)
    optimizer.load_state_dict(state.pop("optimizer"))
    average.load_state_dict(state.pop("average"))
    return {"scaler": {}, **state}


def remove_state(folder: Path) -> None:
    """Remove the states of a run that is finished."""
    for name in (STATE, _BEFORE):
        (folder / name).unlink(missing_ok=True)
    for name in (SHARDS, _SHARDS_BEFORE):
        shutil.rmtree(folder / name, ignore_errors=True)


def _write(folder: Path, state: dict[str, Any]) -> None:
    partial = folder / (STATE + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # e.g. a full disk: the states that are there stay
        partial.unlink(missing_ok=True)
        raise
    if (folder / STATE).exists():
        os.replace(folder / STATE, folder / _BEFORE)
    os.replace(partial, folder / STATE)
    _to_disk(folder)


def _to_disk(path: Path) -> None:
    """Make what was written, or renamed in a folder, outlast a power cut."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(folder: Path) -> dict[str, Any] | None:
    """The last state that is whole."""
    found = [path for path in (folder / STATE, folder / _BEFORE) if path.is_file()]
    problems = []
    for path in found:
        try:
            state = torch.load(path, map_location="cpu")
            missing = {"step", "model", "optimizer", "average"} - set(state)
            if missing:
                raise ValueError(f"it has no {min(missing)!r}")
        except Exception as error:  # torch has no error of its own for half a file
            problems.append(_damaged(path, error))
            continue
        return dict(state)
    _check_none(problems)
    return None


def _damaged(path: Path, error: Exception) -> str:
    problem = f"{path} is damaged ({' '.join(str(error).split())[:120] or type(error).__name__})"
    logger.warning("%s; looking for the state before it", problem)
    return problem


def _check_none(problems: list[str]) -> None:
    """Without any state a run begins; with damaged ones only, it must not begin anew by itself."""
    if problems:
        raise StateError(
            f"{'; '.join(problems)}; remove the damaged states to begin this run anew, or put back "
            "a copy"
        )


def _load_shards(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage
) -> dict[str, Any] | None:
    from torch.distributed.checkpoint.state_dict import set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    # A kill between two renames leaves the one before alone.
    found = [p for p in (folder / SHARDS, folder / _SHARDS_BEFORE) if (p / _META).is_file()]
    problems = []
    for path in found:
        parts = _sharded_parts(model, optimizer, average.state_dict())
        try:
            meta: dict[str, Any] = torch.load(path / _META, map_location="cpu")
            load(parts, checkpoint_id=path)
        except Exception as error:  # every process meets it: the plan is made together
            problems.append(_damaged(path, error))
            continue
        set_state_dict(
            model, optimizer, model_state_dict=parts["model"], optim_state_dict=parts["optimizer"]
        )
        average.load_state_dict({"updates": meta.pop("updates"), "shadow": parts["average"]})
        return meta
    _check_none(problems)
    return None


def _sharded_parts(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Any]
) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "average": dict(average["shadow"])}
