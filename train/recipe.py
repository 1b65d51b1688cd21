"""Make a checkpoint by its recipe.

    python -m train.recipe nano root=DATA out=runs/nano [key=value …]

Every step leaves a folder of its name under `out`, with step.json: its inputs, settings, seconds,
figures, and a hash of its kind, settings and inputs. A step whose folder carries that hash is
skipped, so the same command goes on where the last one stopped; a folder with another hash is moved
aside, never deleted. provenance.json under `out` lists the finished steps. Other `key=value` words
change all training steps, for example loop.precision=fp32 on a CPU without bf16.

--list prints the steps, --dry-run what would be done; --from STEP begins there and takes the steps
before it as they lie, --until STEP ends after it; --smoke does all of it with a few tiny steps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detclipv2.command import run_command
from train.experiment import describe
from train.loop.json_files import write_json
from train.nano.recipe import RECIPES, Step
from train.nano.release import PROVENANCE
from train.nano.steps import KINDS, Job, Stopped, experiment_of
from train.pretrain import pretrain

logger = logging.getLogger(__name__)

STEP = "step.json"
"""In a step's folder: its entry of the provenance, and whether it is finished."""
_PLACES = ("root", "out", "init", "workers", "threads")


@dataclass(frozen=True)
class Order:
    """What is to be made, and where.

    Attributes:
        steps: of the recipe.
        root: folder of the data.
        out: of the steps' folders.
        overrides: `key=value` words for all experiments.
        smoke: a few tiny steps of everything.
    """

    steps: tuple[Step, ...]
    root: Path
    out: Path
    overrides: tuple[str, ...] = ()
    smoke: bool = False

    def hashes(self) -> dict[str, str]:
        """By a step's name: sixteen digits of all that decides what it leaves, but the data.

        Raises:
            ValueError: a step is named twice or takes something that no step before it makes.
        """
        found: dict[str, str] = {}
        for step in self.steps:
            if step.name in found or (missing := [n for n in step.inputs if n not in found]):
                what = "is named twice" if step.name in found else f"lacks {missing[0]!r} before it"
                raise ValueError(f"step {step.name!r} {what}")
            value: dict[str, Any] = {
                "kind": step.kind,
                "settings": dict(step.settings),
                "inputs": [found[name] for name in step.inputs],
                "smoke": self.smoke,
            }
            if step.kind == "train":
                experiment = describe(experiment_of(step, self.overrides, self.smoke))
                value["settings"] = {k: v for k, v in experiment.items() if k not in _PLACES}
            text = json.dumps(value, sort_keys=True)
            found[step.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return found

    def between(self, first: str = "", last: str = "") -> tuple[Step, ...]:
        """The steps from `first` to `last`; empty names stand for the ends.

        Raises:
            ValueError: there is no such step, or `last` comes before `first`.
        """
        names = [step.name for step in self.steps]
        if unknown := {first, last} - {"", *names}:
            raise ValueError(f"no step {unknown.pop()!r}; known: {', '.join(names)}")
        begin = names.index(first) if first else 0
        end = names.index(last) if last else len(names) - 1
        if end < begin:
            raise ValueError(f"{last!r} comes before {first!r}")
        return self.steps[begin : end + 1]


def read_step(folder: Path) -> dict[str, Any]:
    """What a step's folder says of itself; empty where it says nothing."""
    file = folder / STEP
    if not file.is_file():
        return {}
    entry: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return entry


def follow(order: Order, first: str = "", last: str = "") -> list[str]:
    """Do the steps that are not done yet; the names of those that were done now.

    Args:
        order: what and where.
        first: name of the first step to do; those before it must be done.
        last: name of the last one.

    Raises:
        ValueError: a wrong name, or a step before `first` that is not done.
        Stopped: training was asked to stop.
    """
    hashes, done = order.hashes(), []
    for step in order.between(first, last):
        if _is_done(order, step.name, hashes):
            logger.info("%s: done before", step.name)
            continue
        if missing := [name for name in step.inputs if not _is_done(order, name, hashes)]:
            raise ValueError(
                f"{step.name} needs {missing[0]}, which is not done, or otherwise; begin with "
                f"--from {missing[0]} or without --from"
            )
        _do(order, step, hashes)
        done.append(step.name)
    return done


def ancestors(steps: Sequence[Step], name: str) -> list[Step]:
    """The steps that led to `name`, in the recipe's order."""
    by_name = {step.name: step for step in steps}
    needed: set[str] = set()
    open_ = [*by_name[name].inputs]
    while open_:
        one = open_.pop()
        if one not in needed:
            needed.add(one)
            open_ += by_name[one].inputs
    return [step for step in steps if step.name in needed]


def _is_done(order: Order, name: str, hashes: Mapping[str, str]) -> bool:
    entry = read_step(order.out / name)
    return entry.get("hash") == hashes[name] and bool(entry.get("finished"))


def _do(order: Order, step: Step, hashes: Mapping[str, str]) -> None:
    folder = order.out / step.name
    begun = read_step(folder)
    if folder.exists() and begun.get("hash") != hashes[step.name]:
        _move_aside(folder)
        begun = {}
    folder.mkdir(parents=True, exist_ok=True)
    entry: dict[str, Any] = {
        "name": step.name,
        "kind": step.kind,
        "inputs": list(step.inputs),
        "settings": dict(step.settings),
        **({"overrides": list(order.overrides)} if order.overrides else {}),
        "hash": hashes[step.name],
        "seconds": float(begun.get("seconds", 0.0)),
        **({"note": step.note} if step.note else {}),
    }
    write_json(folder / STEP, {**entry, "finished": False})
    before = [_provenance(order.out / s.name) for s in ancestors(order.steps, step.name)]
    inputs = tuple(order.out / name for name in step.inputs)
    job = Job(
        step,
        inputs,
        folder,
        order.root,
        lambda experiment: pretrain(experiment).step,
        order.overrides,
        order.smoke,
        before,
    )
    logger.info("%s: %s", step.name, step.kind)
    started = time.monotonic()
    try:
        figures = KINDS[step.kind](job)
    except Stopped:
        entry["seconds"] += round(time.monotonic() - started, 1)
        write_json(folder / STEP, {**entry, "finished": False})
        raise
    entry["seconds"] += round(time.monotonic() - started, 1)
    write_json(folder / STEP, {**entry, "figures": figures, "finished": True})
    finished = [s for s in order.steps if _is_done(order, s.name, hashes)]
    write_json(order.out / PROVENANCE, [_provenance(order.out / s.name) for s in finished])


def _provenance(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in read_step(folder).items() if key != "finished"}


def _move_aside(folder: Path) -> None:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before{number}")).exists():
        number += 1
    logger.warning("%s is of another recipe; it is %s now", folder, aside.name)
    os.replace(folder, aside)


def listing(steps: Sequence[Step]) -> str:
    """The steps, one a line: name, kind, inputs, settings."""
    return "\n".join(
        f"{s.name:24}{s.kind:18}{', '.join(s.inputs) or '-'}  {json.dumps(dict(s.settings))}"
        for s in steps
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("words", nargs="*", metavar="root=DATA out=FOLDER key=value")
    parser.add_argument("--list", action="store_true", help="print the steps and stop")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and stop")
    parser.add_argument("--from", dest="first", default="", metavar="STEP", help="begin there")
    parser.add_argument("--until", dest="last", default="", metavar="STEP", help="end after it")
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps of everything")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    steps = RECIPES[options.recipe]
    if options.list:
        print(listing(steps))
        return
    given = dict(word.partition("=")[::2] for word in options.words)
    others = tuple(w for w in options.words if w.partition("=")[0] not in ("root", "out"))
    root, out = given.get("root", "data"), given.get("out", f"runs/{options.recipe}")
    order = Order(steps, Path(root), Path(out), others, options.smoke)
    try:
        if options.dry_run:
            hashes = order.hashes()
            for step in order.between(options.first, options.last):
                done = _is_done(order, step.name, hashes)
                print(f"{'done   ' if done else 'to do  '}{hashes[step.name]}  {step.name}")
            return
        follow(order, options.first, options.last)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))
    except Stopped as stopped:
        sys.exit(f"{stopped}; the same command goes on")


if __name__ == "__main__":
    run_command(main)
