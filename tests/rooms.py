"""Every folder of the three packages, and the folders that it may import."""

from __future__ import annotations

from pathlib import Path

from tests.places import REPO

_DATA = {"base", "formats"}
_LABEL_STUDIO = {"labelstudio/api", "labelstudio/learn", "labelstudio/push", "labelstudio/backend"}
_PAGE = {*_DATA, "runs", "ui/shared"}
_TABS = (
    "detect",
    "align",
    "browse",
    "compare",
    "batch",
    "explore",
    "labelstudio",
    "calibrate",
    "train",
)
_COMMANDS = ("pretrain", "finetune", "evaluate", "ablate", "benchmark", "pack", "recipe")
_PAPER = {"config", "geometry", "nn", "model"}
_SAMPLES = {"data", "data/batches"}
_TRAINING = {*_SAMPLES, "loop", "tasks", "experiment"}

ROOMS: dict[str, dict[str, set[str]]] = {
    "app": {
        "base": set(),
        "formats": {"base"},
        "runs": _DATA,
        "browse": _DATA,
        "index": {*_DATA, "runs"},
        "review": {*_DATA, "runs", "index"},
        "adaptation": {*_DATA, "runs", "index", "review"},
        "labelstudio": set(),
        "labelstudio/api": {*_DATA, "runs"},
        "labelstudio/learn": {*_DATA, "runs", "labelstudio/api"},
        "labelstudio/push": {*_DATA, "runs", "review", "labelstudio/api", "labelstudio/learn"},
        "labelstudio/backend": {*_DATA, "runs", "labelstudio/api", "labelstudio/learn"},
        "commands": {*_DATA, "runs", "index", "review", "adaptation", *_LABEL_STUDIO},
        "ui/shared": {*_DATA, "runs", "browse", "labelstudio/api"},
        "ui/detect": _PAGE,
        "ui/align": _PAGE,
        "ui/browse": {*_PAGE, "browse", "ui/align"},
        "ui/compare": _PAGE,
        "ui/batch": {*_PAGE, "index", *_LABEL_STUDIO},
        "ui/explore": {*_PAGE, "index", "review", "adaptation", "labelstudio/api"},
        "ui/labelstudio": {*_PAGE, "index", *_LABEL_STUDIO},
        "ui/calibrate": {*_PAGE, *_LABEL_STUDIO},
        "ui/train": _PAGE,
        "ui": {"base", "ui/shared", *(f"ui/{tab}" for tab in _TABS)},
        "entry": {"base", "commands", "labelstudio/api", "ui", "ui/detect", "ui/shared"},
    },
    "detclipv2": {
        "assets": set(),
        "base": set(),
        "config": set(),
        "geometry": set(),
        "datasets": set(),
        "labeling": set(),
        "learning": {"geometry"},
        "nn": {"base", "config"},
        "model": {"config", "geometry", "nn"},
        "nano": {*_PAPER},
        "checkpoint": {*_PAPER, "assets", "base", "nano"},
        "language": {"assets", "base", "model"},
        "inference": {*_PAPER, "language", "learning"},
        "inference/multi_scale": {"config", "geometry", "inference", "inference/runtimes", "model"},
        "inference/runtimes": {*_PAPER, "checkpoint", "inference"},
        "inference/predictor": {
            *_PAPER,
            "checkpoint",
            "inference",
            "inference/multi_scale",
            "inference/runtimes",
            "language",
        },
        "detectors": {
            *_PAPER,
            "base",
            "checkpoint",
            "inference",
            "inference/predictor",
            "inference/runtimes",
            "language",
        },
        "face": {"config", "detectors", "inference", "inference/predictor", "language", "model"},
    },
    "train": {
        "base": set(),
        "data": set(),
        "data/shards": {"data"},
        "data/readers": {"data"},
        "data/dictionary": set(),
        "data/batches": {"data", "data/shards"},
        "loop": {"data/batches"},
        "tasks": {*_SAMPLES, "data/shards", "loop"},
        "experiment": {*_SAMPLES, "loop", "tasks"},
        "configs": {*_TRAINING, "data/readers", "data/shards"},
        "evaluation/metrics": set(),
        "evaluation": {*_SAMPLES, "data/readers", "evaluation/metrics", "loop", "tasks"},
        "profiling": {*_TRAINING, "evaluation/metrics"},
        "nano": {*_TRAINING, "data/dictionary", "data/readers", "evaluation"},
        "ablations": {*_TRAINING, "configs", "data/readers", "evaluation", "nano"},
        "commands": {
            *_TRAINING,
            "ablations",
            "configs",
            "data/readers",
            "data/shards",
            "evaluation",
            "nano",
            "profiling",
        },
    },
}
"""A folder may import itself and these, and no others; `FLOORS` splits some folders in two."""

FLOORS: dict[str, dict[str, str]] = {
    "app": {"__main__.py": "entry", "cli.py": "entry"},
    "detclipv2": {
        "__init__.py": "face",
        "config.py": "config",
        "serving.py": "config",
        "model.py": "model",
        "regions.py": "model",
        "checkpoint.py": "checkpoint",
        "checkpoint_v1.py": "checkpoint",
        "fingerprint.py": "checkpoint",
        "inference/predictor.py": "inference/predictor",
        "inference/fingerprints.py": "inference/predictor",
        "inference/onnx_export.py": "inference/predictor",
    },
    "train": {
        **{
            f"{name}.py": "commands"
            for name in (
                "pretrain",
                "finetune",
                "evaluate",
                "ablate",
                "benchmark",
                "pack",
                "recipe",
                "experiment_names",
            )
        },
        "experiment.py": "experiment",
        "initial_model.py": "experiment",
        "data/sampler.py": "data/batches",
        "data/loader.py": "data/batches",
    },
}
"""Files that are no part of their folder's room."""


def room_of(package: str, file: Path) -> str:
    """The room that a file belongs to; "base" is the package's own folder."""
    path = file.relative_to(REPO / package)
    own = FLOORS[package].get(path.as_posix())
    return own or path.parent.as_posix().replace(".", "base")
