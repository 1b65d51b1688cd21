"""Zero-shot figures of a finished run, short names to percent, for the tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detclipv2.detectors.protocol import Detector
from detclipv2.inference.predictor import Predictor
from train.data.readers.ov_mini import DEVELOPMENT
from train.evaluation import protocols
from train.evaluation.detector_sweep import Sweep
from train.evaluation.ov_mini import development, evaluate, open_detector
from train.evaluation.prompts_with_definitions import enrichment
from train.experiment import Experiment
from train.loop.distributed import World

Judge = Callable[[Experiment, World], dict[str, Any] | None]
"""A finished run → `figures` by short names, and everything in `detail`; None in all processes but
the first."""

_LVIS_BOXES = 1000


def on_ov_mini(experiment: Experiment, here: World) -> dict[str, Any] | None:
    """OV-mini under the run's `root`; one process does it, the others need not wait here.

    Raises:
        FileNotFoundError: `root` lacks a set.
    """
    if not here.main:
        return None
    with tempfile.TemporaryDirectory() as cache:
        found = evaluate(_detector(experiment, Path(cache)), experiment.root)
    figures = {
        **_of_development(found[DEVELOPMENT]),
        "ap50 other sets": found["zero_shot_ap50"]["mean"],
        **{f"phrase recall{at}": value for at, value in found["phrase_recall"].items()},
    }
    return {"figures": figures, "detail": found}


def on_coco_dev(experiment: Experiment, here: World) -> dict[str, Any] | None:
    """OV-mini's development set alone; one process does it.

    Raises:
        FileNotFoundError: the run's `root` lacks it.
    """
    if not here.main:
        return None
    with tempfile.TemporaryDirectory() as cache:
        found = development(_detector(experiment, Path(cache)), experiment.root)
    return {"figures": _of_development(found), "detail": {DEVELOPMENT: found}}


def _detector(experiment: Experiment, cache: Path) -> Detector[Any]:
    threads = experiment.threads or None
    return open_detector(str(experiment.out / "checkpoint"), threads=threads, cache=cache)[0]


def _of_development(found: dict[str, Any]) -> dict[str, float]:
    return {
        **{name: found[name] for name in ("ap", "ap50", "ar100")},
        **{f"ap50 {group}": value["ap50"] for group, value in found["groups"].items()},
    }


def on_lvis(
    experiment: Experiment, here: World, *, annotations: Path, images: Path
) -> dict[str, Any] | None:
    """LVIS's fixed AP, the paper's figure; a killed evaluation goes on after its last photo.

    Args:
        experiment: with names and definitions in training it is asked with both, as in the paper.
        here: the processes that share the photos.
        annotations: LVIS's file, minival or val.
        images: folder of its photos.
    """
    sweep = Sweep(
        boxes=_LVIS_BOXES, proposals=_LVIS_BOXES, folder=experiment.out / "lvis.rows", world=here
    )
    with tempfile.TemporaryDirectory() as cache:
        detector, _ = open_detector(str(experiment.out / "checkpoint"), cache=Path(cache))
        assert isinstance(detector, Predictor)  # a checkpoint of our own
        found = protocols.lvis_both(detector, annotations, images, sweep, enrichment(detector))
    if found is None:
        return None
    fixed, recalls = found["lvis"]["fixed"], found["lvis"]
    figures = {
        **{name: fixed[name] for name in ("ap", "ap50", "rare", "common", "frequent")},
        **{name: recalls[name]["all"] for name in ("ar100", "ar1000")},
    }
    return {"figures": figures, "detail": found}
