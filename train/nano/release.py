"""Make a trained checkpoint an embedded one, with its card.

    python -m train.nano.release CHECKPOINT OUT --run RUN [--figures F …] [--size PX] [--least PX]
        [--half SHARE] [--second PX] [--ranking centerness|iou|both] [--prior] [--shown DATA]
        [--strength S] [--soft-nms SIGMA] [--int8]

CHECKPOINT is what train.pretrain left, RUN its run folder, each F a file of `train.evaluate --out`,
OUT the folder to write, for example detclipv2/assets/nano. The card names data, terms and figures.
`--prior` attaches the backbone's own ImageNet classifier; `--shown` lets it say less of what the
boxed photos of OV-mini in the folder DATA often show, `--strength` says how much it counts beside
the head. `--half` and `--second` add looks at every photo, `--ranking` says which branch ranks the
boxes, `--soft-nms` how far those beside a better one lose score: see `ServingConfig`. `--int8`
stores backbones and classifier in eight bits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.config import Ranking
from detclipv2.nano.tower import NanoTower
from train.data.readers.ov_mini import TERMS, photos_by_text
from train.loop.run_log import LOG
from train.nano.prior import prior_of, region_names, with_prior

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
    parser.add_argument("--prior", action="store_true", help="attach ImageNet's classifier")
    parser.add_argument(
        "--shown", type=Path, metavar="DATA", help="what was learned from, for the prior"
    )
    parser.add_argument("--strength", type=float, help="weight of the prior's opinion")
    parser.add_argument("--size", type=int, help="long side of the network's input")
    parser.add_argument("--least", type=int, help="to which smaller photos are still enlarged")
    parser.add_argument("--half", type=float, help="share of a look at half the size, 0 for none")
    parser.add_argument("--second", type=int, help="size of a look at small things, 0 for none")
    parser.add_argument("--ranking", choices=get_args(Ranking))
    parser.add_argument("--soft-nms", type=float, help="see ServingConfig.soft_nms")
    parser.add_argument("--int8", action="store_true", help="see NanoConfig.int8")
    options = parser.parse_args(arguments)
    model = load_checkpoint(options.checkpoint)
    if options.prior:
        model = with_prior(model)
    try:
        if options.shown:
            prior_of(model).names.copy_(region_names(model, photos_by_text(options.shown)))
        if options.strength is not None:
            with torch.no_grad():
                prior_of(model).strength.fill_(options.strength)
    except ValueError as error:
        parser.error(str(error))
    names = ("size", "least", "half", "second", "ranking", "soft_nms")
    changes = {name: getattr(options, name) for name in names}
    changes = {name: value for name, value in changes.items() if value is not None}
    model.serving = replace(model.serving, **changes)
    if isinstance(tower := model.image_tower, NanoTower):
        tower.nano = replace(tower.nano, int8=options.int8 or tower.nano.int8)
        if options.ranking:
            tower.nano = replace(tower.nano, prior_ranking=options.ranking)
    earlier = {k: v for k, v in inspect(options.checkpoint)["card"].items() if "sha" not in k}
    save_checkpoint(model, options.out, {**earlier, **card(options.run, options.figures)})
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{options.out}: {size / 1e6:.1f} MB")
    if size > _LIMIT:
        raise SystemExit(f"that is more than {_LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
