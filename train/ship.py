"""Make a run's averaged weights an embedded checkpoint.

    python -m train.ship RUN FIGURES OUT

RUN is a folder of train.pretrain, FIGURES what `train.evaluate --out` wrote for RUN/checkpoint, OUT
the folder to write, for example detclipv2/assets/nano. The card names data, terms and figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detclipv2.model import DetCLIPv2
from train.data.ov_mini import TERMS
from train.engine import LOG

_LIMIT = 20_000_000


def card(run: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Provenance of a run's checkpoint.

    Raises:
        FileNotFoundError: `run` is no run folder.
        ValueError: its log holds no training step.
    """
    lines = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    if not steps:
        raise ValueError(f"{run / LOG} holds no training step")
    rate = sum(s["images_per_second"] for s in steps) / len(steps)
    return {
        "training": json.loads((run / "experiment.json").read_text(encoding="utf-8")),
        "steps": steps[-1]["step"],
        "minutes": round(steps[-1]["seconds"] / 60),
        "images_per_second": round(rate, 1),
        "data_and_terms": TERMS,
        "terms": "research use; the weights are derived from the data listed",
        "zero_shot_percent": figures,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("run", "figures", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    model = DetCLIPv2.from_pretrained(options.run / "checkpoint")
    figures = json.loads(options.figures.read_text(encoding="utf-8"))
    model.save_pretrained(options.out, card(options.run, figures))
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{options.out}: {size / 1e6:.1f} MB")
    if size > _LIMIT:
        raise SystemExit(f"that is more than {_LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
