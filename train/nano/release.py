"""Make a trained checkpoint an embedded one, with its card and its provenance.

    python -m train.nano.release CHECKPOINT OUT [--run RUN] [--figures F …] [--provenance F]
        [--size PX] [--least PX] [--half SHARE] [--second PX] [--ranking centerness|iou|both]
        [--imagenet-prior] [--less-of-boxed DATA] [--strength S] [--soft-nms SIGMA] [--int8]

CHECKPOINT is a checkpoint folder, RUN the run folder of its training, each F of `--figures` a file
of `train.evaluate --out`, OUT the folder to write, for example detclipv2/assets/nano. The card
names data, terms and figures; `--provenance` copies what train.recipe wrote beside it.
`--imagenet-prior` attaches the backbone's own ImageNet classifier; `--less-of-boxed` lets it say
less of what the boxed photos of OV-mini in the folder DATA often show, `--strength` says how much
it counts beside the head. `--half` and `--second` add looks at every photo, see `ServingConfig`.
`--ranking` says which branch ranks the boxes, `--soft-nms` how far those beside a better one
lose score. `--int8` stores backbones and classifier in eight bits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch

from detclipv2.checkpoint import CheckpointError, inspect, load_checkpoint, save_checkpoint
from detclipv2.command import run_command
from detclipv2.config import Ranking
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import NanoTower
from detclipv2.serving import ServingConfig
from train.data.readers.ov_mini import TERMS, photos_by_text
from train.loop.run_log import speed, train_lines
from train.nano.prior import prior_of, region_names, with_prior

PROVENANCE = "provenance.json"
_LIMIT = 20_000_000
_IMAGE = ("size", "least", "half", "second")


@dataclass(frozen=True)
class ReleaseSettings:
    """How a checkpoint is used; None keeps what it has.

    Attributes:
        imagenet_prior: attach the backbone's own ImageNet classifier.
        strength: how much it counts beside the head.
        size: long side of the network's input, in pixels.
        least: to which smaller photos are still enlarged.
        half: share of a look at half the size, 0 for none.
        second: size of a look at small things, 0 for none.
        ranking: which branch ranks the boxes.
        soft_nms: see `ServingConfig.soft_nms`.
        int8: see `NanoConfig.int8`.
    """

    imagenet_prior: bool = False
    strength: float | None = None
    size: int | None = None
    least: int | None = None
    half: float | None = None
    second: int | None = None
    ranking: Ranking | None = None
    soft_nms: float | None = None
    int8: bool | None = None


def configured(
    model: DetCLIPv2, settings: ReleaseSettings, boxed: Mapping[str, int] | None = None
) -> DetCLIPv2:
    """`model` as it is to be used; it may be changed in place.

    Args:
        model: a trained detector.
        settings: see there.
        boxed: of how many boxed photos of training a text was a concept; the ImageNet prior says
            less of what is often among them.

    Raises:
        ValueError: `boxed` or `strength` is given without an ImageNet prior, or a setting does not
            fit the model.
    """
    if settings.imagenet_prior:
        model = with_prior(model)
    if boxed is not None:
        prior_of(model).names.copy_(region_names(model, boxed))
    if settings.strength is not None:
        with torch.no_grad():
            prior_of(model).strength.fill_(settings.strength)
    given = {
        f.name: getattr(settings, f.name)
        for f in fields(ServingConfig)
        if hasattr(settings, f.name)
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    model.serving = replace(model.serving, **chosen)
    model.serving.check(model.config)
    if isinstance(tower := model.image_tower, NanoTower):
        ranking = settings.ranking or tower.nano.prior_ranking
        int8 = tower.nano.int8 if settings.int8 is None else settings.int8
        tower.nano = replace(tower.nano, prior_ranking=ranking, int8=int8)
    elif settings.int8:
        raise ValueError(f"{model.config.name!r} is the paper's; int8 is for a NanoTower")
    return model


def release(
    checkpoint: str | Path,
    out: Path,
    settings: ReleaseSettings,
    *,
    data: Path | None = None,
    card: Mapping[str, Any] | None = None,
    provenance: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Write `checkpoint` to `out` as it is to be used; its size in bytes.

    Args:
        checkpoint: a name or folder.
        out: folder, made if need be.
        settings: how it is used.
        data: OV-mini, for what the ImageNet prior is to say less of; None leaves it.
        card: further entries of the card.
        provenance: entries of train.recipe, written beside the card.
    """
    boxed = None if data is None else photos_by_text(data)
    model = configured(load_checkpoint(checkpoint), settings, boxed)
    earlier = {k: v for k, v in inspect(checkpoint)["card"].items() if "sha" not in k}
    added = {"data_and_terms": TERMS, "terms": _TERMS, **(card or {})}
    save_checkpoint(model, out, {**earlier, **added})
    if provenance:
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in provenance)
        (out / PROVENANCE).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return sum(file.stat().st_size for file in out.iterdir())


_TERMS = "research use; the weights are derived from the data listed"


def card_of(run: Path | None, figures: Sequence[Path]) -> dict[str, Any]:
    """What a run's log and files of figures, named by their stems, add to a card.

    Raises:
        FileNotFoundError: `run` is no run folder.
        ValueError: its log holds no training step.
    """
    found: dict[str, Any] = {}
    if run is not None:
        steps = train_lines(run)
        if not steps:
            raise ValueError(f"{run} holds no log with a training step")
        training = json.loads((run / "experiment.json").read_text(encoding="utf-8"))
        # Where things lay on one machine is nobody's business.
        found["training"] = {k: v for k, v in training.items() if k not in ("root", "out", "init")}
        found |= {"steps": steps[-1]["step"], **_rounded(speed(run))}
    if figures:
        found["zero_shot_percent"] = {
            file.stem: json.loads(file.read_text(encoding="utf-8")) for file in figures
        }
    return found


def _rounded(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: round(value, 1) for key, value in values.items() if value is not None}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--figures", type=Path, nargs="+", default=[])
    parser.add_argument("--provenance", type=Path, help="provenance.json of train.recipe")
    parser.add_argument(
        "--imagenet-prior", "--knowledge", action="store_true", help="attach ImageNet's classifier"
    )
    parser.add_argument(
        "--less-of-boxed",
        "--taught",
        type=Path,
        metavar="DATA",
        help="what was learned from; the ImageNet prior says less of it",
    )
    parser.add_argument("--strength", type=float, help="weight of the ImageNet prior")
    parser.add_argument("--size", type=int, help="the model's own image size from now on")
    parser.add_argument("--least", type=int, help="to which smaller photos are still enlarged")
    parser.add_argument("--half", type=float, help="share of a look at half the size, 0 for none")
    parser.add_argument("--second", type=int, help="size of a look at small things, 0 for none")
    parser.add_argument("--ranking", choices=get_args(Ranking))
    parser.add_argument("--soft-nms", type=float, help="see ServingConfig.soft_nms")
    parser.add_argument("--int8", action="store_true", default=None, help="eight bits a weight")
    options = vars(parser.parse_args(arguments))
    settings = ReleaseSettings(**{f.name: options[f.name] for f in fields(ReleaseSettings)})
    try:
        entries = json.loads(options["provenance"].read_text()) if options["provenance"] else ()
        size = release(
            options["checkpoint"],
            options["out"],
            settings,
            data=options["less_of_boxed"],
            card=card_of(options["run"], options["figures"]),
            provenance=entries,
        )
    except (CheckpointError, FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    print(f"{options['out']}: {size / 1e6:.1f} MB")
    if size > _LIMIT:
        sys.exit(f"that is more than {_LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    run_command(main)
