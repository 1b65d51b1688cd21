"""Fine-tune a checkpoint on boxes of one's own.

    python -m train.finetune lvis CHECKPOINT root=DATA out=runs/lvis [key=value …]
    python -m train.finetune odinw CHECKPOINT SET [SET …] out=runs/odinw [key=value …]

A SET is a folder with Roboflow's train/valid/test (`_annotations.coco.json`), or with `images/` and
an `instances.json` whose images have a `split`. Each set begins with CHECKPOINT, keeps its best
weights by the AP on its validation photos, and is judged once on its test photos; the table with
the mean is written to OUT. The same command goes on where it stopped. With --other FOLDER, a set
like these, the table also tells how well its classes, which are not trained on, are found before
and after: is the vocabulary still open? With --keep 0.3 there is OUT/SET/kept, too: three tenths
CHECKPOINT, the rest tuned weights. --from-backbone starts without CHECKPOINT's weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.command import run_command
from detclipv2.datasets.labeled_set import read_truth
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import nano_config
from train.ablations.tuning_report import Tuned
from train.configs import finetune
from train.data.readers.coco import read_coco
from train.data.readers.odinw import ANNOTATIONS, read_odinw, read_odinw_truth
from train.data.sample import Sample
from train.evaluation.zero_shot import zero_shot_boxes
from train.experiment import Experiment, override
from train.initial_model import build_model
from train.loop.distributed import World, world
from train.nano.average import average
from train.pretrain import pretrain

_FIGURES = "figures.json"


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuningSet:
    """A set with its training photos, and validation and test photos to judge on.

    `valid` and `test` are a COCO-format truth and the folder of its photos.
    """

    name: str
    train: list[Sample]
    valid: tuple[dict[str, Any], Path]
    test: tuple[dict[str, Any], Path]

    def reader(self, *_: Path) -> tuple[Sequence[Sample], Sequence[float]]:
        """The training photos as a stream's data."""
        return self.train, [1.0] * len(self.train)


def read_set(folder: Path) -> TuningSet:
    """A set in either layout.

    Raises:
        ValueError: neither, or a split without photos.
    """
    if (folder / "train" / ANNOTATIONS).is_file():
        valid, test = (read_odinw_truth(folder, split) for split in ("valid", "test"))
        found = TuningSet(folder.name, read_odinw(folder, "train"), valid, test)
    elif (folder / "instances.json").is_file():
        file, images = folder / "instances.json", folder / "images"
        val, test_truth = (read_truth(file, split) for split in ("val", "test"))
        # Small sets may lack one of them.
        valid = (val if val["images"] else test_truth, images)
        test = (test_truth if test_truth["images"] else val, images)
        found = TuningSet(folder.name, read_coco(file, split="train"), valid, test)
    else:
        raise ValueError(f"{folder} has neither train/{ANNOTATIONS} nor instances.json")
    if not (found.train and found.valid[0]["images"] and found.test[0]["images"]):
        raise ValueError(f"{folder} needs photos to train on, to choose by and to judge by")
    return found


def judge(model: DetCLIPv2, truth: dict[str, Any], images: Path) -> dict[str, float]:
    """COCO AP and AP50 in percent, with fresh text embeddings."""
    with tempfile.TemporaryDirectory() as cache:
        device = str(next(model.parameters()).device)
        figures, recall = zero_shot_boxes(
            Predictor(model, device=device, cache_dir=Path(cache)), truth, images
        )
    return {"ap": figures.ap, "ap50": figures.ap50, "ar100": recall}


def tune(
    experiment: Experiment,
    data: TuningSet,
    here: World | None = None,
    *,
    other: tuple[dict[str, Any], Path] | None = None,
    keep: float = 0.0,
) -> dict[str, float]:
    """Train on one set; the test figures of its best weights.

    Args:
        experiment: with `out`, what to begin with, and evaluations at intervals.
        data: the set.
        here: the processes that train together.
        other: truth and photos of another set; its AP50 becomes the figure "other_ap50".
        keep: part of the weights it began with in a second checkpoint, `out`/kept, whose figures
            are "kept_ap50" and "kept_other_ap50"; 0 makes none.
    """
    here = here or World()
    out = experiment.out
    best = out / "best"

    def judge_validation(model: DetCLIPv2) -> dict[str, float]:
        figures = judge(model, *data.valid)
        if here.main:
            kept = json.loads(note.read_text()) if (note := best / "valid.json").is_file() else {}
            if figures["ap"] > kept.get("ap", -1.0):
                save_checkpoint(model, best)
                note.write_text(json.dumps(figures))
        return figures

    done = out / _FIGURES
    if not done.is_file():
        pretrain(experiment, here, judge_validation)
    if here.main:
        known = json.loads(done.read_text(encoding="utf-8")) if done.is_file() else {}
        figures = known or judge(load_checkpoint(best), *data.test)
        if other is not None and "other_ap50" not in figures:
            figures["other_ap50"] = judge(load_checkpoint(best), *other)["ap50"]
        wanted = {"kept_ap50"} | ({"kept_other_ap50"} if other is not None else set())
        if keep and not (figures.get("keep") == keep and wanted <= figures.keys()):
            figures.pop("kept_other_ap50", None)  # of another share
            figures["keep"] = keep
            tuned, begun = (load_checkpoint(source) for source in (best, experiment.init))
            kept = average([tuned, begun], [1 - keep, keep])
            save_checkpoint(kept, out / "kept", {"keep": keep})
            figures["kept_ap50"] = judge(kept, *data.test)["ap50"]
            if other is not None:
                figures["kept_other_ap50"] = judge(kept, *other)["ap50"]
        done.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    here.barrier()
    found: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))
    return found


def table(figures: dict[str, dict[str, float]], other: str = "", before: float = 0.0) -> str:
    """Per set and on the average, as Markdown.

    Args:
        figures: of `tune`, by set.
        other: name of the other set; empty where there is none.
        before: AP50 on it of what all began with.
    """
    keys = {"ap": "AP", "ap50": "AP50"} | ({"other_ap50": f"{other} AP50"} if other else {})
    if all("kept_ap50" in f for f in figures.values()):
        keys |= {"kept_ap50": "kept: AP50"}
        keys |= {"kept_other_ap50": f"kept: {other} AP50"} if other else {}
    rows = {name: [f[key] for key in keys] for name, f in figures.items()}
    rows["mean"] = [mean(column) for column in zip(*rows.values(), strict=True)]
    lines = [["set", *keys.values()], ["---"] * (1 + len(keys))]
    if other:
        lines.append(["before", "", "", f"{before:.1f}", *[""] * (len(keys) - 3)])
    lines += [[name, *(f"{value:.1f}" for value in row)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("lvis", "odinw"))
    parser.add_argument("checkpoint", help='"nano", a checkpoint folder')
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--other", type=Path, metavar="FOLDER", help="another set, judged only")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="also write OUT/SET/kept: this part of the weights it began with, the rest of the\n"
        "tuned ones, which forgets less (WiSE-FT, Wortsman et al. 2022)",
    )
    parser.add_argument(
        "--from-backbone", choices=("package", "timm"), help="where ImageNet's weights come from"
    )
    parser.add_argument("words", nargs="*", metavar="SET or key=value")
    options = parser.parse_intermixed_args(arguments)
    overrides = [word for word in options.words if "=" in word]
    folders = [Path(word) for word in options.words if "=" not in word]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not 0 <= options.keep < 1:
        parser.error(f"--keep is a share from 0 to below 1, got {options.keep}")
    if options.keep and options.from_backbone:
        parser.error("--keep wants a detector to begin with, not a backbone alone")
    trained = load_checkpoint(options.checkpoint)
    model, nano = trained.config, nano_config(trained)
    if options.from_backbone:
        nano = None

    stages = len(trained.image_tower.backbone.stages) - 1

    def ready(experiment: Experiment) -> Experiment:
        if options.from_backbone:
            return override(
                replace(experiment, backbone_weights=options.from_backbone, text_weights=True),
                overrides,
            )
        experiment = replace(
            experiment, init=options.checkpoint, nano=nano, serving=trained.serving
        )
        if nano and nano.imagenet_prior:
            # The prior's classifier knows only features of the backbone as it is now.
            experiment = replace(experiment, freeze=stages)
        experiment = override(experiment, overrides)
        if nano and nano.imagenet_prior and experiment.freeze < stages:
            logger.warning("the backbone learns, so the ImageNet prior is left out")
            return replace(experiment, nano=replace(nano, imagenet_prior=False))
        return experiment

    try:
        with world() as here:
            if options.what == "lvis":
                pretrain(ready(finetune.lvis(model, options.smoke)), here)
                return
            if not folders:
                raise ValueError("odinw needs the folder of at least one set")
            sets = [read_set(folder) for folder in folders]
            other = (
                (read_truth(options.other / "instances.json"), options.other / "images")
                if options.other
                else None
            )
            found = {}
            for one in sets:
                run = ready(finetune.odinw(model, one.reader, len(one.train), options.smoke))
                found[one.name] = tune(
                    replace(run, out=run.out / one.name), one, here, other=other, keep=options.keep
                )
            if here.main:
                before = judge(build_model(run), *other)["ap50"] if other else 0.0
                name = options.other.name if other else ""
                began = "ImageNet's backbone" if options.from_backbone else options.checkpoint
                looks = ", ".join(map(str, trained.serving.sides))
                settings = {"began with": Path(began).name, "steps": run.loop.steps}
                settings |= {"judged at": f"{looks} px"}
                settings |= {"kept": options.keep} if options.keep else {}
                settings |= {"backbone stages frozen": run.freeze} if run.freeze else {}
                Tuned(found, name, before, settings).write(run.out)
                text = table(found, name, before)
                (run.out / "table.md").write_text(text + "\n", encoding="utf-8")
                print(text)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    run_command(main)
