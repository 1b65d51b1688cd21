"""Make a trained checkpoint an embedded one, with its card.

    python -m train.nano.release CHECKPOINT OUT --run RUN [--figures F …] [--size PX] [--least PX]
        [--half SHARE]
        [--second PX] [--localisation centerness|iou|both] [--knowledge | --knowledge-of TAUGHT]
        [--taught DATA] [--strength S] [--soft-nms SIGMA] [--compact]

CHECKPOINT is what train.pretrain left, RUN its run folder, each F a file of `train.evaluate --out`,
OUT the folder to write, for example detclipv2/assets/nano. The card names data, terms and figures.
`--knowledge` attaches the backbone's own ImageNet classifier, `--knowledge-of` what
train.nano.distil taught a checkpoint with the same backbone; `--taught` lets the knowledge
say less of what the boxed photos of OV-mini in the folder DATA often show, `--strength` says how
much it counts beside the head, where that grew since. `--half` and `--second` add looks at every
photo, see `ImageConfig`.
`--localisation` says which branch ranks the boxes, `--soft-nms` how far those beside a better one
lose score. `--compact` stores backbones and classifier in eight bits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from detclipv2.checkpoint import inspect
from detclipv2.config import Localisation
from detclipv2.model import DetCLIPv2
from train.data.readers.ov_mini import TERMS, photos_by_text
from train.loop.run_log import LOG
from train.nano.prior import lent, region_names, with_knowledge

_LIMIT = 20_000_000
_OF_TRAINING = (
    "training",
    "steps",
    "minutes",
    "images_per_second",
    "average_of",
    "transplanted_from",
    "partner",
    "began_with",
)


def card(run: Path, figures: Sequence[Path]) -> dict[str, Any]:
    """Provenance of a run's checkpoint, with the figures under their files' names.

    Raises:
        FileNotFoundError: `run` is no run folder.
        ValueError: its log holds no training step.
    """
    lines = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    if not steps:
        raise ValueError(f"{run / LOG} holds no training step")
    rate = sum(s["images_per_second"] for s in steps) / len(steps)
    training = json.loads((run / "experiment.json").read_text(encoding="utf-8"))
    before = _card_before(training["init"]) if training.get("init") else None
    return {
        **({"began_with": before} if before else {}),
        # Where things lay on one machine is nobody's business.
        "training": {k: v for k, v in training.items() if k not in ("root", "out", "init")},
        "steps": steps[-1]["step"],
        "minutes": round(steps[-1]["seconds"] / 60),
        "images_per_second": round(rate, 1),
        "data_and_terms": TERMS,
        "terms": "research use; the weights are derived from the data listed",
        "zero_shot_percent": {
            file.stem: json.loads(file.read_text(encoding="utf-8")) for file in figures
        },
    }


def _card_before(init: str) -> dict[str, Any]:
    """How `init` was trained: from its run folder where it is a run's checkpoint, or its card."""
    run = Path(init).parent
    told = card(run, ()) if (run / LOG).is_file() else inspect(init)["card"]
    return {k: v for k, v in told.items() if k in _OF_TRAINING}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--figures", type=Path, nargs="+", default=[])
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--knowledge", action="store_true", help="attach ImageNet's classifier")
    known.add_argument("--knowledge-of", metavar="TAUGHT", help="attach this checkpoint's")
    parser.add_argument(
        "--taught", type=Path, metavar="DATA", help="what was learned from, for the knowledge"
    )
    parser.add_argument("--strength", type=float, help="weight of the knowledge's opinion")
    parser.add_argument("--size", type=int, help="the model's own image size from now on")
    parser.add_argument("--least", type=int, help="to which smaller photos are still enlarged")
    parser.add_argument("--half", type=float, help="share of a look at half the size, 0 for none")
    parser.add_argument("--second", type=int, help="size of a look at small things, 0 for none")
    parser.add_argument("--localisation", choices=get_args(Localisation))
    parser.add_argument("--soft-nms", type=float, help="see ModelConfig.soft_nms")
    parser.add_argument("--compact", action="store_true", help="see ModelConfig.compact")
    options = parser.parse_args(arguments)
    model = DetCLIPv2.from_pretrained(options.checkpoint)
    if options.knowledge:
        model = with_knowledge(model)
    if options.knowledge_of:
        model = lent(model, DetCLIPv2.from_pretrained(options.knowledge_of))
    if options.taught:
        if model.knowledge is None:
            parser.error("--taught is about the knowledge, which this checkpoint does not have")
        model.knowledge.names.copy_(region_names(model, photos_by_text(options.taught)))
    if options.strength is not None:
        if model.knowledge is None:
            parser.error("--strength is the knowledge's, which this checkpoint does not have")
        with torch.no_grad():
            model.knowledge.strength.fill_(options.strength)
    changes = {key: getattr(options, key) for key in ("size", "least", "half", "second")}
    if given := {key: value for key, value in changes.items() if value is not None}:
        image = replace(model.config.image, **given)
        model.config = replace(model.config, image=image)
    if options.localisation:
        model.config = replace(model.config, localisation=options.localisation)
    if options.soft_nms is not None:
        model.config = replace(model.config, soft_nms=options.soft_nms)
    if options.compact:
        model.config = replace(model.config, compact=True)
    earlier = {k: v for k, v in inspect(options.checkpoint)["card"].items() if "sha" not in k}
    model.save_pretrained(options.out, {**earlier, **card(options.run, options.figures)})
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{options.out}: {size / 1e6:.1f} MB")
    if size > _LIMIT:
        raise SystemExit(f"that is more than {_LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
