"""The protocols of the literature, each from a detector to figures: COCO, LVIS, ODinW."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import urlsplit

from detclipv2.datasets.labeled_set import read_truth
from detclipv2.detectors.protocol import Detector
from train.data.readers.odinw import read_odinw_truth
from train.evaluation.detector_sweep import Sweep
from train.evaluation.metrics import lvis
from train.evaluation.metrics.detection import average_precision, average_recall
from train.evaluation.metrics.rows import ANYTHING, Rows
from train.evaluation.prompts_with_definitions import Enrich, questions_of

_COUNTS = (100, 1000)


@dataclass(frozen=True)
class OdinwSet:
    """One set of an ODinW list.

    Attributes:
        name: as tables show it.
        folder: see `read_odinw_truth`.
        split: what is evaluated on; the benchmark uses "test" for most sets.
        prompts: other words for some classes.
    """

    name: str
    folder: Path
    split: str = "test"
    prompts: Mapping[str, str] = field(default_factory=dict)


def coco(
    detector: Detector[Any],
    annotations: Path,
    images: Path,
    sweep: Sweep,
    enrich: Enrich | None = None,
) -> dict[str, Any] | None:
    """COCO AP and class-agnostic AR of any set in COCO's format, in percent.

    Args:
        detector: the detector.
        annotations: the JSON file.
        images: folder of the photos.
        sweep: how photos are looked at; 100 boxes are COCO's rule.
        enrich: from names to prompts.

    Returns:
        JSON values; None in all processes but the first.
    """
    truth = read_truth(annotations)
    rows = _look(detector, truth, images, sweep, enrich)
    if rows is None:
        return None
    boxes = rows[rows["category"] != ANYTHING]
    return {"coco": {**asdict(average_precision(truth, boxes)), **_recalls(truth, rows, sweep)}}


def lvis_both(
    detector: Detector[Any],
    annotations: Path,
    images: Path,
    sweep: Sweep,
    enrich: Enrich | None = None,
) -> dict[str, Any] | None:
    """LVIS's fixed AP and ordinary AP of boxes, and class-agnostic AR; as for `coco`.

    The fixed AP knows no cap on a photo's boxes, so `sweep.boxes` should be far above 300. minival
    and val differ by `annotations` only; photos lie in `images` or in `images/val2017` and so on.
    """
    truth = read_truth(annotations)
    rows = _look(detector, truth, images, sweep, enrich)
    if rows is None:
        return None
    boxes = rows[rows["category"] != ANYTHING]
    return {
        "lvis": {
            "fixed": asdict(lvis.fixed_average_precision(truth, boxes)),
            "ordinary": asdict(lvis.average_precision(truth, boxes)),
            **_recalls(truth, rows, sweep),
        }
    }


def odinw(
    detector: Detector[Any], sets: Sequence[OdinwSet], sweep: Sweep, enrich: Enrich | None = None
) -> dict[str, Any] | None:
    """Zero-shot COCO AP of each set and their mean; as for `coco`."""
    found: dict[str, Any] = {}
    for one in sets:
        truth, images = read_odinw_truth(one.folder, one.split, one.prompts)
        rows = _look(detector, truth, images, replace(sweep, proposals=0), enrich)
        if rows is not None:
            figures = average_precision(truth, rows)
            found[one.name] = {"photos": len(truth["images"]), **asdict(figures)}
    if not sweep.world.main:
        return None
    return {"odinw": {"mean": mean(f["ap"] for f in found.values()), "sets": found}}


def read_sets(config: Path) -> list[OdinwSet]:
    """The sets of a JSON file or of a Python file's `SETS`: a list of `OdinwSet`'s fields.

    Folders are relative to the file; the name is by default the folder's.

    Raises:
        ValueError: another format, an unknown field, no set, or one name twice.
    """
    try:
        if config.suffix == ".py":
            spec = importlib.util.spec_from_file_location(config.stem, config)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            entries = module.SETS
        else:
            entries = json.loads(config.read_text(encoding="utf-8"))
        sets = [
            OdinwSet(**{"name": Path(e["folder"]).name, **e, "folder": config.parent / e["folder"]})
            for e in entries
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{config} is no list of ODinW sets: {error!r}") from error
    if not sets or len({s.name for s in sets}) < len(sets):
        raise ValueError(f"{config} must name at least one set, and none twice")
    return sets


def table(figures: Mapping[str, Any]) -> str:
    """The headline figures of any protocol as Markdown."""
    rows: list[tuple[str, float]] = []
    if "coco" in figures:
        rows = list(_flat("COCO", figures["coco"]))
    elif "lvis" in figures:
        rows = list(_flat("LVIS", figures["lvis"]))
    elif "odinw" in figures:
        rows = [(f"{name} AP", found["ap"]) for name, found in figures["odinw"]["sets"].items()]
        rows.append((f"mean AP of {len(rows)} sets", figures["odinw"]["mean"]))
    lines = [f"| {name} | {value:.1f} |" for name, value in rows]
    return "\n".join(["| zero-shot figure | % |", "|---|---|", *lines])


_TITLES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "small": "APs",
    "medium": "APm",
    "large": "APl",
    "rare": "APr",
    "common": "APc",
    "frequent": "APf",
}


def _flat(title: str, figures: Mapping[str, Any]) -> list[tuple[str, float]]:
    rows = []
    for key, value in figures.items():
        if key.startswith("ar"):
            recall = f"{title} class-agnostic AR@{key[2:]}"
            rows += [(recall + ("" if k == "all" else f", {k}"), v) for k, v in value.items()]
        elif isinstance(value, float):
            rows.append((f"{title} {_TITLES[key]}", value))
        elif key in ("fixed", "ordinary"):
            rows += _flat(f"{title} {key}", value)
    return rows


def _look(
    detector: Detector[Any],
    truth: dict[str, Any],
    images: Path,
    sweep: Sweep,
    enrich: Enrich | None,
) -> Rows | None:
    photos = [(record["id"], _photo(images, record)) for record in truth["images"]]
    return sweep.run(detector, photos, questions_of(truth["categories"], enrich))


def _photo(images: Path, record: Mapping[str, Any]) -> Path:
    # LVIS's own files give an address instead of a name; its val set has photos of train2017.
    address = urlsplit(record.get("coco_url", "")).path.split("/")
    names = (record.get("file_name"), "/".join(address[-2:]), address[-1])
    files = [images / str(name) for name in names if name]
    return next((file for file in files if file.is_file()), files[0])


def _recalls(truth: dict[str, Any], rows: Rows, sweep: Sweep) -> dict[str, Any]:
    proposals = rows[rows["category"] == ANYTHING]
    return {
        f"ar{count}": asdict(average_recall(truth, proposals, count))
        for count in _COUNTS
        if count <= sweep.proposals
    }
