"""Zero-shot figures of a checkpoint on OV-mini: python -m train.evaluate CHECKPOINT ROOT [--out F]

COCO-format development set with AP50 by class group, the six sets never trained on, and phrase
recall on flickr8k val. Prints a table and writes everything as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from train.class_groups import group_classes, read_texts
from train.data.grounding import read_phrases
from train.data.ov_mini import DEVELOPMENT, ZERO_SHOT, boxed_samples, training_texts
from train.metrics.detection import read_truth
from train.zero_shot import phrase_recall, zero_shot_boxes

logger = logging.getLogger(__name__)


def evaluate(predictor: Predictor, root: Path, size: int | None = None) -> dict[str, Any]:
    """All figures of a detector, in percent.

    Args:
        predictor: the detector.
        root: folder of OV-mini.
        size: long side of the network's input; None for the model's own.

    Raises:
        FileNotFoundError: `root` lacks a set.
    """
    truth = read_truth(root / DEVELOPMENT / "instances.json")
    figures, recall = zero_shot_boxes(predictor, truth, root / DEVELOPMENT / "images", size)
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
    sets = {}
    for name in ZERO_SHOT:
        truth = read_truth(root / name / "instances.json")
        sets[name] = zero_shot_boxes(predictor, truth, root / name / "images", size)[0].ap50
    phrases = read_phrases(root / "flickr8k" / "grounding.json", split="val")
    return {
        DEVELOPMENT: {
            "ap": figures.ap, "ap50": figures.ap50, "ar100": recall, "groups": by_group,
            "ap50_by_class": figures.ap50_by_class,
        },
        "zero_shot_ap50": {"mean": mean(sets.values()), **sets},
        "phrase_recall": {f"@{k}": v for k, v in phrase_recall(predictor, phrases, size).items()},
    }  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    """The headline figures as Markdown."""
    dev, sets, phrases = (figures[k] for k in (DEVELOPMENT, "zero_shot_ap50", "phrase_recall"))
    rows = [
        ("coco_dev AP", dev["ap"]),
        ("coco_dev AP50", dev["ap50"]),
        *((f"coco_dev AP50, {g} ({len(v['classes'])} classes)", v["ap50"])
          for g, v in dev["groups"].items()),
        ("coco_dev class-agnostic AR@100", dev["ar100"]),
        *((f"{name} AP50", value) for name, value in sets.items() if name != "mean"),
        ("mean AP50 of the six", sets["mean"]),
        *((f"flickr8k val phrase Recall{k}", v) for k, v in phrases.items()),
    ]  # fmt: skip
    lines = [f"| {name} | {value:.1f} |" for name, value in rows]
    return "\n".join(["| zero-shot figure | % |", "|---|---|", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help='"nano" or a checkpoint folder')
    parser.add_argument("root", type=Path, help="folder of OV-mini")
    parser.add_argument("--size", type=int, help="long side of the network's input")
    parser.add_argument(
        "--without-knowledge", action="store_true", help="switch ModelConfig.knowledge off"
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    started = time.monotonic()
    model = DetCLIPv2.from_pretrained(options.checkpoint)
    checkpoint = model.fingerprint[:8]
    if options.without_knowledge:
        model.knowledge = None
    figures = evaluate(Predictor(model, threads=options.threads), options.root, options.size)
    figures["settings"] = {
        "checkpoint": checkpoint,
        "knowledge": model.knowledge is not None, "size": options.size or model.config.image.size,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    print(table(figures))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
