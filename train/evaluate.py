"""Zero-shot figures of a detector: a Markdown table, and everything as JSON with --out.

    python -m train.evaluate CHECKPOINT ROOT [--out F]
    python -m train.evaluate CHECKPOINT --protocol coco --annotations F --images D [--out F]
    python -m train.evaluate CHECKPOINT --protocol lvis --annotations F --images D [--out F]
    python -m train.evaluate CHECKPOINT --protocol odinw --config F [--out F]
    python -m train.evaluate CHECKPOINT --protocol minutes SET[:PART] [SET[:PART] …] [--out F]

The first is OV-mini: a COCO-format development set with AP50 by class group, six sets never trained
on, phrase recall on flickr8k val. LVIS prints the fixed and the ordinary AP; minival and val differ
by the annotation file. minutes tells what pre-labels at the defaults save people who draw boxes; a
SET is a folder with `instances.json` and `images/`, a PART a split, or odd or even ids. Instead of
CHECKPOINT, `--detector transformers:FOLDER_OR_HUB_ID` takes any zero-shot detector of that library.

With --out FILE.json the boxes of every photo are kept in FILE.rows while it runs: the same command
again goes on after the last photo. `torchrun --nproc-per-node N -m train.evaluate …` shares them.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from detclipv2.command import run_command
from detclipv2.datasets.labeled_set import LabeledSet
from detclipv2.detectors.protocol import Detector
from detclipv2.inference.predictor import Predictor
from detclipv2.inference.runtimes.openvino import Runtime
from train.evaluation import minutes, protocols
from train.evaluation.detector_sweep import Sweep, lowest_score
from train.evaluation.ov_mini import evaluate, open_detector, table
from train.evaluation.prompts_with_definitions import Enrich, enrichment
from train.loop.distributed import World, world
from train.loop.json_files import write_json

logger = logging.getLogger(__name__)

_BOXES = {"coco": 100, "odinw": 100, "lvis": 1000}
_PROPOSALS = {"coco": 100, "odinw": 0, "lvis": 1000}
_WEEK = 7 * 24 * 60


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as cache, world(_WEEK) as processes:
        detector, settings = open_detector(
            options.detector,
            threads=options.threads,
            imagenet_prior=not options.without_imagenet_prior,
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
        elif options.protocol == "minutes":
            if processes.size > 1:
                raise SystemExit("minutes are told by one process: evaluate them without torchrun")
            asked = replace(detector.list_defaults, size=options.size, tiles=options.tiles)
            figures, shown = minutes.minutes(detector, options.sets, asked)[0], minutes.table
            settings |= asdict(asked)
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
        write_json(options.out, figures)
        if options.protocol in _BOXES and not options.keep_rows:
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
        help='"nano" or a checkpoint folder; the folder of OV-mini, or the sets of minutes',
    )
    parser.add_argument("--detector", help="instead of CHECKPOINT, also transformers:FOLDER_OR_ID")
    parser.add_argument("--protocol", choices=("ov-mini", "minutes", *_BOXES), default="ov-mini")
    parser.add_argument("--annotations", type=Path, help="JSON file of COCO or LVIS")
    parser.add_argument("--images", type=Path, help="folder of its photos")
    parser.add_argument("--config", type=Path, help="JSON or Python list of ODinW sets")
    parser.add_argument(
        "--definitions",
        action=argparse.BooleanOptionalAction,
        help='ask for "name, definition"; by default as the checkpoint was trained',
    )
    parser.add_argument("--floor", type=float, help="lowest score of a box")
    parser.add_argument("--boxes", type=int, help="most boxes of a photo")
    parser.add_argument("--size", type=int, help="look once, with this long side")
    parser.add_argument(
        "--tiles", type=int, default=1, help="tiles along a photo's long side, looked at as well"
    )
    parser.add_argument(
        "--without-imagenet-prior",
        "--without-knowledge",
        action="store_true",
        help="leave out the backbone's own ImageNet classifier",
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
    wanted = {"coco": ("annotations", "images"), "odinw": ("config",)}
    wanted["lvis"] = wanted["coco"]
    names = wanted.get(options.protocol, ())
    if missing := [f"--{name}" for name in names if getattr(options, name) is None]:
        parser.error(f"--protocol {options.protocol} needs {' and '.join(missing)}")
    options.root, options.sets = None, []
    if options.protocol == "minutes":
        try:
            options.sets = [LabeledSet.parse(place) for place in places]
        except ValueError as error:
            parser.error(str(error))
        if not places:
            parser.error("minutes needs at least one set: a folder with instances.json and images/")
    elif len(places) != (options.protocol == "ov-mini"):
        parser.error("OV-mini needs its folder" if not places else f"{places[-1]!r} is too much")
    else:
        options.root = Path(places[0]) if places else None
    return options


if __name__ == "__main__":
    run_command(main)
