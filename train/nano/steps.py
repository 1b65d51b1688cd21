"""What the kinds of a recipe's steps do: from folders of earlier steps to a folder and figures."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.model import DetCLIPv2
from train.data.readers.ov_mini import PSEUDO_BOXES
from train.evaluation import calibrate_absence, calibrate_scores
from train.evaluation.ov_mini import evaluate, open_detector
from train.experiment import Experiment, override
from train.loop.json_files import write_json
from train.loop.kept_files import copy_kept, move_kept
from train.loop.run_log import speed
from train.nano import ensemble, pseudo_boxes, release, stages, swap_backbone
from train.nano.average import average
from train.nano.recipe import Kind, Step

CHECKPOINT = "checkpoint"
"""In a step's folder: what it made, where that is a detector."""
FIGURES = "figures.json"
_SHARED = "shared"
_SMOKE_SIZES = {"size": 128, "least": 128, "second": 192}


class Stopped(RuntimeError):
    """Training was asked to stop before its end; the same step goes on from there."""


@dataclass(frozen=True)
class Job:
    """A step with its places.

    Attributes:
        step: what is to be done.
        inputs: folders of the steps it begins with.
        folder: its own.
        root: folder of the data.
        overrides: `key=value` words for all experiments.
        smoke: a few steps on tiny canvases.
        pretrain: trains an experiment in its folder; returns the step that it got to.
        provenance: entries of the steps that led here.
    """

    step: Step
    inputs: tuple[Path, ...]
    folder: Path
    root: Path
    pretrain: Callable[[Experiment], int]
    overrides: tuple[str, ...] = ()
    smoke: bool = False
    provenance: Sequence[Mapping[str, Any]] = ()

    @property
    def checkpoints(self) -> list[Path]:
        """Checkpoint folders among the inputs."""
        return [i / CHECKPOINT for i in self.inputs if (i / CHECKPOINT).is_dir()]

    def save(self, model: DetCLIPv2) -> None:
        """Write the detector that the step made."""
        save_checkpoint(model, self.folder / CHECKPOINT, {"step": self.step.name})


def experiment_of(step: Step, overrides: Sequence[str] = (), smoke: bool = False) -> Experiment:
    """What a step of kind "train" trains, but for its places."""
    words = [*step.settings["overrides"], *overrides]
    if smoke:  # as short in every precision that the CPU has
        words = [word for word in words if not word.startswith("loop.")]
    experiment: Experiment = getattr(stages, step.settings["stage"])(smoke=smoke)
    changed: Experiment = override(experiment, words)
    return changed


def train(job: Job) -> dict[str, Any]:
    """Train a stage from the first input; other inputs' pseudo boxes go into the run folder."""
    init = [f"init={checkpoint}" for checkpoint in job.checkpoints[:1]]
    places = [f"root={job.root}", f"out={job.folder}", *init]
    experiment = override(experiment_of(job.step, job.overrides, job.smoke), places)
    for folder in job.inputs:
        if (folder / PSEUDO_BOXES).is_file():
            shutil.copyfile(folder / PSEUDO_BOXES, job.folder / PSEUDO_BOXES)
    shared = job.folder.parent / _SHARED
    shared.mkdir(exist_ok=True)
    copy_kept(shared, job.folder)
    step = job.pretrain(experiment)
    if step < experiment.loop.steps:
        raise Stopped(f"{job.step.name}: stopped at step {step} of {experiment.loop.steps}")
    move_kept(job.folder, shared)
    return {"steps": step, **speed(job.folder)}


def mean_of_weights(job: Job) -> dict[str, Any]:
    """The mean of the inputs' weights, each counting as `weights` say."""
    models = [load_checkpoint(checkpoint) for checkpoint in job.checkpoints]
    job.save(average(models, job.step.settings["weights"]))
    return {}


def other_backbone(job: Job) -> dict[str, Any]:
    """The input on another backbone, wider."""
    settings = dict(job.step.settings)
    if job.smoke:
        settings |= {"steps": 1, "sizes": (192,)}
    model, unexplained = swap_backbone.on_backbone(job.checkpoints[0], root=job.root, **settings)
    job.save(model)
    return {"variance_unexplained": unexplained}


def boxes_of_names(job: Job) -> dict[str, Any]:
    """Boxes that the input finds for photos with a class name."""
    found, photos = pseudo_boxes.find_boxes(job.checkpoints[0], job.root)
    write_json(job.folder / PSEUDO_BOXES, found)
    return {"photos": photos, "boxed": len(found["images"])}


def two_towers(job: Job) -> dict[str, Any]:
    """The first input's image tower and the second's, as one."""
    model, other = map(load_checkpoint, job.checkpoints)
    job.save(ensemble.ensemble(model, other, **job.step.settings))
    return {}


def released(job: Job) -> dict[str, Any]:
    """The input as it is to be used, with the other inputs' figures and the provenance."""
    settings = dict(job.step.settings)
    if job.smoke:
        settings |= {name: _SMOKE_SIZES[name] for name in settings.keys() & _SMOKE_SIZES}
    data = job.root if settings.pop("less_of_boxed", False) else None
    files = {i.name: i / FIGURES for i in job.inputs if (i / FIGURES).is_file()}
    figures = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    size = release.release(
        job.checkpoints[0],
        job.folder / CHECKPOINT,
        release.ReleaseSettings(**settings),
        data=data,
        card={"zero_shot_percent": figures} if figures else None,
        provenance=job.provenance,
    )
    return {"bytes": size}


def with_scores_calibrated(job: Job) -> dict[str, Any]:
    """The input with calibrated scores."""
    folder = _copied(job)
    model, figures = calibrate_scores.calibrate(folder, job.root, **job.step.settings)
    calibrate_scores.write(model, figures, folder)
    return dict(figures)


def with_absence_calibrated(job: Job) -> dict[str, Any]:
    """The input with the least evidence of a phrase that is in the photo."""
    folder = _copied(job)
    # Hardly trained weights cannot tell absent phrases from others.
    precision = 0.0 if job.smoke else job.step.settings["precision"]
    figures = calibrate_absence.measure(str(folder), job.root, precision)
    calibrate_absence.write(figures, folder)
    del figures["rows"]
    return figures


def evaluated(job: Job) -> dict[str, Any]:
    """Zero-shot figures of the input on OV-mini."""
    with tempfile.TemporaryDirectory() as cache:
        wanted = {**job.step.settings, **({"runtime": "torch"} if job.smoke else {})}
        detector, settings = open_detector(str(job.checkpoints[0]), cache=Path(cache), **wanted)
        figures = evaluate(detector, job.root)
    write_json(job.folder / FIGURES, {**figures, "settings": settings})
    return figures


def _copied(job: Job) -> Path:
    folder = job.folder / CHECKPOINT
    shutil.copytree(job.checkpoints[0], folder, dirs_exist_ok=True)
    return folder


KINDS: Mapping[Kind, Callable[[Job], dict[str, Any]]] = {
    "train": train,
    "average": mean_of_weights,
    "swap_backbone": other_backbone,
    "pseudo_boxes": boxes_of_names,
    "ensemble": two_towers,
    "release": released,
    "calibrate_scores": with_scores_calibrated,
    "calibrate_absence": with_absence_calibrated,
    "evaluate": evaluated,
}
"""A step's kind → what it does; it returns JSON figures for the provenance."""
