"""The state of a run on disk: one file, or with sharded parameters a folder of shards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.distributed import World
from train.optim import MovingAverage

STATE = "last.pt"
SHARDS = "last.shards"
_META = "meta.pt"


def save_state(
    folder: Path, state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer,
    world: World, sharded: bool,
) -> None:  # fmt: skip
    """Write a run's state; a kill at any moment leaves the old one or the new one.

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
            partial = folder / (STATE + ".partial")
            torch.save(state, partial)
            os.replace(partial, folder / STATE)
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
        old = folder / (SHARDS + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(partial, final)
        shutil.rmtree(old, ignore_errors=True)
    world.barrier()


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage,
    sharded: bool,
) -> dict[str, Any] | None:  # fmt: skip
    """Put a run's state back in place; the rest of it is returned, None where there is none.

    A sharded state can be read by another number of processes than wrote it.
    """
    if sharded:
        return _load_shards(folder, model, optimizer, average)
    if not (folder / STATE).is_file():
        return None
    state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in state.pop("model").items():
            parameters[name].copy_(tensor)
    optimizer.load_state_dict(state.pop("optimizer"))
    average.load_state_dict(state.pop("average"))
    return {"scaler": {}, **state}


def _load_shards(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage
) -> dict[str, Any] | None:
    from torch.distributed.checkpoint.state_dict import set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    # A kill between two renames leaves the old shards under their other name.
    found = [p for p in (folder / SHARDS, folder / (SHARDS + ".old")) if (p / _META).is_file()]
    if not found:
        return None
    parts = _sharded_parts(model, optimizer, average.state_dict())
    load(parts, checkpoint_id=found[0])
    set_state_dict(
        model, optimizer, model_state_dict=parts["model"], optim_state_dict=parts["optimizer"]
    )
    meta: dict[str, Any] = torch.load(found[0] / _META, map_location="cpu")
    average.load_state_dict({"updates": meta.pop("updates"), "shadow": parts["average"]})
    return meta


def _sharded_parts(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Any]
) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "average": dict(average["shadow"])}
