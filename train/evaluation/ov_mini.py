"""Zero-shot figures of a detector on OV-mini: development set, six other sets, phrases."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from detclipv2.checkpoint import load_checkpoint
from detclipv2.datasets.labeled_set import read_truth
from detclipv2.detectors.protocol import Detector
from detclipv2.detectors.transformers_detector import TransformersDetector
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.predictor import Predictor
from detclipv2.inference.runtimes.openvino import Runtime
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import NanoTower
from train.data.readers.grounding import read_phrases
from train.data.readers.ov_mini import DEVELOPMENT, ZERO_SHOT, boxed_samples, training_texts
from train.evaluation.class_groups import group_classes, read_texts
from train.evaluation.zero_shot import phrase_recall, zero_shot_boxes

logger = logging.getLogger(__name__)

_TRANSFORMERS = "transformers:"


def evaluate(
    detector: Detector[Any], root: Path, size: int | None = None, tiles: int = 1
) -> dict[str, Any]:
    """All figures of a detector on OV-mini, in percent.

    Args:
        detector: the detector.
        root: folder of OV-mini.
        size: long side of the network's input; None for the model's own.
        tiles: along a photo's long side, see `Predictor.encode_image`.

    Raises:
        FileNotFoundError: `root` lacks a set.
    """
    sets = {}
    for name in ZERO_SHOT:
        truth = read_truth(root / name / "instances.json")
        images = root / name / "images"
        sets[name] = zero_shot_boxes(detector, truth, images, size, tiles)[0].ap50
    phrases = read_phrases(root / "flickr8k" / "grounding.json", split="val")
    return {
        DEVELOPMENT: development(detector, root, size, tiles),
        "zero_shot_ap50": {"mean": mean(sets.values()), **sets},
        "phrase_recall": {
            f"@{k}": v for k, v in phrase_recall(detector, phrases, size, tiles).items()
        },
    }


def development(
    detector: Detector[Any], root: Path, size: int | None = None, tiles: int = 1
) -> dict[str, Any]:
    """Figures on the development set, in percent: AP, AP50, AR@100, AP50 by group of classes.

    Raises:
        FileNotFoundError: `root` lacks it, or what the groups are told by.
    """
    truth = read_truth(root / DEVELOPMENT / "instances.json")
    figures, recall = zero_shot_boxes(detector, truth, root / DEVELOPMENT / "images", size, tiles)
    samples, _ = boxed_samples(root)
    groups = group_classes(
        list(figures.ap50_by_class), samples, read_texts(training_texts(root)), load_concepts()
    )
    by_group = {
        group: {
            "classes": sorted(c for c, g in groups.items() if g == group),
            "ap50": mean(v for c, v in figures.ap50_by_class.items() if groups[c] == group),
        }
        for group in sorted(set(groups.values()))
    }
    return {
        "ap": figures.ap,
        "ap50": figures.ap50,
        "ar100": recall,
        "groups": by_group,
        "ap50_by_class": figures.ap50_by_class,
    }


def development_judge(root: Path) -> Callable[[DetCLIPv2], dict[str, float]] | None:
    """A training run's judge: AP, AP50 and AR@100 on the development set; None without that set."""
    folder = root / DEVELOPMENT
    if not (folder / "instances.json").is_file():
        return None
    truth = read_truth(folder / "instances.json")

    def judge(model: DetCLIPv2) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as cache:
            device = str(next(model.parameters()).device)
            predictor = Predictor(model, device=device, cache_dir=Path(cache))
            figures, recall = zero_shot_boxes(predictor, truth, folder / "images")
        logger.info("AP %.2f AP50 %.2f AR@100 %.2f", figures.ap, figures.ap50, recall)
        return {"ap": figures.ap, "ap50": figures.ap50, "ar100": recall}

    return judge


def table(figures: dict[str, Any]) -> str:
    """The headline figures on OV-mini as Markdown."""
    dev, sets, phrases = (figures[k] for k in (DEVELOPMENT, "zero_shot_ap50", "phrase_recall"))
    rows = [
        ("coco_dev AP", dev["ap"]),
        ("coco_dev AP50", dev["ap50"]),
        *(
            (f"coco_dev AP50, {g} ({len(v['classes'])} classes)", v["ap50"])
            for g, v in dev["groups"].items()
        ),
        ("coco_dev class-agnostic AR@100", dev["ar100"]),
        *((f"{name} AP50", value) for name, value in sets.items() if name != "mean"),
        ("mean AP50 of the six", sets["mean"]),
        *((f"flickr8k val phrase Recall{k}", v) for k, v in phrases.items()),
    ]
    lines = [f"| {name} | {value:.1f} |" for name, value in rows]
    return "\n".join(["| zero-shot figure | % |", "|---|---|", *lines])


def open_detector(
    source: str,
    *,
    threads: int | None = None,
    imagenet_prior: bool = True,
    cache: Path | None = None,
    runtime: Runtime = "torch",
) -> tuple[Detector[Any], dict[str, Any]]:
    """A detector, and what its figures' settings say of it.

    Args:
        source: "transformers:" and a folder or hub id, or an embedded name or a checkpoint folder.
        threads: CPU threads, or None for torch's choice.
        imagenet_prior: False leaves out what the checkpoint has of it.
        cache: folder of text embeddings; None for the user's.
        runtime: what runs our image tower.
    """
    if source.startswith(_TRANSFORMERS):
        other = TransformersDetector.from_pretrained(
            source.removeprefix(_TRANSFORMERS), threads=threads
        )
        return other, {"detector": other.name, "checkpoint": other.fingerprint[:8]}
    model = load_checkpoint(source)
    checkpoint = fingerprint(model)[:8]
    tower = model.image_tower
    if not imagenet_prior and isinstance(tower, NanoTower):
        tower.prior = None
    predictor = Predictor(model, threads=threads, cache_dir=cache, runtime=runtime)
    settings = {
        "checkpoint": checkpoint,
        "imagenet_prior": getattr(tower, "prior", None) is not None,
        "runtime": predictor.runtime,
    }
    return predictor, settings
