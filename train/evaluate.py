"""Zero-shot figures of a detector: a Markdown table, and everything as JSON with --out.

    python -m train.evaluate CHECKPOINT ROOT [--out F]
    python -m train.evaluate CHECKPOINT --protocol coco --annotations F --images D [--out F]
    python -m train.evaluate CHECKPOINT --protocol lvis --annotations F --images D [--out F]
    python -m train.evaluate CHECKPOINT --protocol odinw --config F [--out F]

The first is OV-mini: a COCO-format development set with AP50 by class group, six sets never trained
on, phrase recall on flickr8k val. LVIS prints the fixed and the ordinary AP; minival and val differ
by the annotation file. Instead of CHECKPOINT, `--detector transformers:FOLDER_OR_HUB_ID` takes any
zero-shot detector of that library.

With --out FILE.json the boxes of every photo are kept in FILE.rows while it runs: the same command
again goes on after the last photo. `torchrun --nproc-per-node N -m train.evaluate …` shares them.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, get_args

from detclipv2.checkpoint import load_checkpoint
from detclipv2.detectors.protocol import Detector, TransformersDetector
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.predictor import Predictor
from detclipv2.inference.runtimes.openvino import Runtime
from detclipv2.language.concepts import load_concepts
from detclipv2.nano.tower import NanoTower
from train.data.readers.grounding import read_phrases
from train.data.readers.ov_mini import DEVELOPMENT, ZERO_SHOT, boxed_samples, training_texts
from train.evaluation import protocols
from train.evaluation.class_groups import group_classes, read_texts
from train.evaluation.detector_sweep import Sweep, lowest_score
from train.evaluation.metrics.detection import read_truth
from train.evaluation.prompts_with_definitions import Enrich, enrichment
from train.evaluation.zero_shot import phrase_recall, zero_shot_boxes
from train.loop.distributed import World, world

logger = logging.getLogger(__name__)

_TRANSFORMERS = "transformers:"
_BOXES = {"coco": 100, "odinw": 100, "lvis": 1000}
_PROPOSALS = {"coco": 100, "odinw": 0, "lvis": 1000}
_WEEK = 7 * 24 * 60


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
        imagenet_prior: False switches the ImageNet prior off.
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


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as cache, world(_WEEK) as processes:
        detector, settings = open_detector(
            options.detector,
            threads=options.threads,
            imagenet_prior=not options.without_prior,
            cache=Path(cache),
            runtime=options.runtime,
        )
        own = detector.model.serving if isinstance(detector, Predictor) else None
        looks = (options.size,) if options.size else own and own.sides
        settings |= {"size": looks and looks[0], "looks": looks, "tiles": options.tiles}
        if options.protocol == "ov-mini":
            if processes.size > 1:
                raise SystemExit("OV-mini is small: evaluate it without torchrun")
            figures: dict[str, Any] | None = evaluate(
                detector, options.root, options.size, options.tiles
            )
            shown = table
        else:
            sweep = _sweep(options, detector, processes)
            try:
                enrich = enrichment(detector, options.definitions)
            except ValueError as error:
                raise SystemExit(f"--definitions: {error}") from error
            settings |= {
                "floor": sweep.floor,
                "boxes": sweep.boxes,
                "definitions": enrich is not None,
            }
            figures = _by_protocol(options, detector, sweep, enrich)
            shown = protocols.table
    if figures is None:
        return
    figures["settings"] = {**settings, "seconds": round(time.monotonic() - started)}
    print(shown(figures))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        valid = json.loads(json.dumps(figures), parse_constant=lambda _: None)  # JSON has no nan
        options.out.write_text(json.dumps(valid, indent=2) + "\n", encoding="utf-8")
        if options.protocol != "ov-mini" and not options.keep_rows:
            shutil.rmtree(options.out.with_suffix(".rows"), ignore_errors=True)


def _by_protocol(
    options: argparse.Namespace, detector: Detector[Any], sweep: Sweep, enrich: Enrich | None
) -> dict[str, Any] | None:
    if options.protocol == "odinw":
        return protocols.odinw(detector, protocols.read_sets(options.config), sweep, enrich)
    protocol = protocols.coco if options.protocol == "coco" else protocols.lvis_both
    return protocol(detector, options.annotations, options.images, sweep, enrich)


def _sweep(options: argparse.Namespace, detector: Detector[Any], processes: World) -> Sweep:
    return Sweep(
        size=options.size,
        tiles=options.tiles,
        floor=lowest_score(detector) if options.floor is None else options.floor,
        boxes=options.boxes or _BOXES[options.protocol],
        proposals=_PROPOSALS[options.protocol],
        folder=options.out.with_suffix(".rows") if options.out else None,
        world=processes,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "places",
        nargs="*",
        metavar="CHECKPOINT ROOT",
        help='"nano" or a checkpoint folder; the folder of OV-mini',
    )
    parser.add_argument("--detector", help="instead of CHECKPOINT, also transformers:FOLDER_OR_ID")
    parser.add_argument("--protocol", choices=("ov-mini", *_BOXES), default="ov-mini")
    parser.add_argument("--annotations", type=Path, help="JSON file of COCO or LVIS")
    parser.add_argument("--images", type=Path, help="folder of its photos")
    parser.add_argument("--config", type=Path, help="JSON or Python list of ODinW sets")
    parser.add_argument(
        "--definitions",
        action=argparse.BooleanOptionalAction,
        help='ask for "name, definition"; by default as the checkpoint was taught',
    )
    parser.add_argument("--floor", type=float, help="lowest score of a box")
    parser.add_argument("--boxes", type=int, help="most boxes of a photo")
    parser.add_argument("--size", type=int, help="look once, with this long side")
    parser.add_argument(
        "--tiles", type=int, default=1, help="tiles along a photo's long side, looked at as well"
    )
    parser.add_argument(
        "--without-prior", action="store_true", help="switch the ImageNet prior off"
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument(
        "--runtime",
        choices=get_args(Runtime),
        default="torch",
        help="what runs the image tower (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--keep-rows", action="store_true", help="do not delete FILE.rows")
    options = parser.parse_intermixed_args(arguments)
    places = list(options.places)
    if options.detector is None:
        if not places:
            parser.error("give a checkpoint, or --detector")
        options.detector = places.pop(0)
    wanted = {"ov-mini": (), "odinw": ("config",)}.get(options.protocol, ("annotations", "images"))
    if missing := [f"--{name}" for name in wanted if getattr(options, name) is None]:
        parser.error(f"--protocol {options.protocol} needs {' and '.join(missing)}")
    if len(places) != (options.protocol == "ov-mini"):
        parser.error("OV-mini needs its folder" if not places else f"{places[-1]!r} is too much")
    options.root = Path(places[0]) if places else None
    return options


if __name__ == "__main__":
    main()
