"""When is a phrase not in the photo?

    python -m train.evaluation.calibrate_absence CHECKPOINT DATA [--write]

Phrases with boxes are in their photo; phrases of other photos' captions, of which nothing related
is mentioned in any caption of this one, are taken to be absent. Each gets its evidence
(`Alignment.evidence`), and every threshold its precision and recall of "absent", with as many
absent phrases as present ones. `--write` keeps the chosen threshold in the checkpoint's card, where
the app finds it. DATA holds flickr8k; its val split is read.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detclipv2.checkpoint import inspect, load_checkpoint, locate
from detclipv2.command import run_command
from detclipv2.inference.alignment import AlignSettings
from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from train.data.readers.grounding import GroundedPhrase, read_phrases

CARD_KEY = "abstention"
PRECISION = 0.9
"""Wanted of "absent": nine of ten phrases that the app calls absent are."""

Photos = Sequence[tuple[Path, Sequence[GroundedPhrase]]]
Floats = NDArray[np.float64]


def swapped(photos: Photos, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """For each photo its own phrases, and as many of other photos that none of its own relates to.

    Equal phrases count once a photo.
    """
    dictionary, dice = load_concepts(), random.Random(seed)
    every = [p.text for _, phrases in photos for p in phrases]
    pairs = []
    for _, phrases in photos:
        own = list(dict.fromkeys(p.text for p in phrases))
        drawn = [t for t in dict.fromkeys(dice.choices(every, k=8 * len(own))) if t not in own]
        texts = [text.lower() for text in (*own, *drawn)]
        related = dictionary.related(texts)
        first = len(own)
        absent = [t for i, t in enumerate(drawn) if not related[:first, first + i].any()]
        count = min(len(own), len(absent))
        pairs.append((own[:count], absent[:count]))
    return pairs


def collect(
    predictor: Predictor, photos: Photos, settings: AlignSettings | None = None, seed: int = 0
) -> tuple[Floats, Floats]:
    """Evidence of the phrases that are there, and of those that are not, over all photos."""
    present: list[float] = []
    absent: list[float] = []
    found = swapped(photos, seed)
    for (path, _), (own, others) in zip(
        tqdm(photos, unit="photo", mininterval=5), found, strict=True
    ):
        if not own:
            continue
        encoded = predictor.first_look(path)
        # Each kind alone, as a user would type it: the other one must not rank its regions.
        present += predictor.align(encoded, own, settings).evidence.tolist()
        absent += predictor.align(encoded, others, settings).evidence.tolist()
    return np.array(present), np.array(absent)


def table(present: Floats, absent: Floats, steps: int = 129) -> list[dict[str, float]]:
    """Precision and recall of "absent" for thresholds over the range of the evidence.

    Precision is 1 where no phrase is called absent.
    """
    low, high = np.quantile(np.concatenate([present, absent]), [0.005, 0.995])
    rows = []
    for threshold in np.linspace(low, high, steps):
        right, wrong = int((absent < threshold).sum()), int((present < threshold).sum())
        rows.append(
            {
                "threshold": round(float(threshold), 3),
                "precision": right / (right + wrong) if right + wrong else 1.0,
                "recall": right / len(absent),
                "present_lost": wrong / len(present),
            }
        )
    return rows


def choose(rows: Sequence[dict[str, float]], precision: float = PRECISION) -> dict[str, float]:
    """The threshold with the highest recall among those of the wanted precision.

    Raises:
        ValueError: no threshold reaches it.
    """
    good = [row for row in rows if row["precision"] >= precision and row["recall"] > 0]
    if not good:
        best = max((row["precision"] for row in rows if row["recall"] > 0), default=0.0)
        raise ValueError(f"no threshold reaches a precision of {precision}; the best is {best:.3f}")
    return max(good, key=lambda row: row["recall"])


def separation(present: Floats, absent: Floats) -> float:
    """Area under the ROC curve: how often a phrase that is there has more evidence."""
    merged = np.concatenate([present, absent])
    ranks = np.empty(len(merged))
    ranks[merged.argsort(kind="stable")] = np.arange(1, len(merged) + 1)
    own = ranks[: len(present)].sum() - len(present) * (len(present) + 1) / 2
    return float(own / (len(present) * len(absent)))


def measure(checkpoint: str, data: Path, precision: float = PRECISION) -> dict[str, Any]:
    """All figures of one checkpoint, as JSON values."""
    photos = read_phrases(data / "flickr8k" / "grounding.json", split="val")
    predictor = Predictor(load_checkpoint(checkpoint))
    present, absent = collect(predictor, photos)
    rows = table(present, absent)
    chosen = choose(rows, precision)
    return {
        "threshold": chosen["threshold"],
        "precision": round(chosen["precision"], 4),
        "recall": round(chosen["recall"], 4),
        "present_lost": round(chosen["present_lost"], 4),
        "auc": round(separation(present, absent), 4),
        "phrases": len(present) + len(absent),
        "photos": len(photos),
        "data": "flickr8k val, phrases swapped between photos",
        "rows": rows,
    }


def write(figures: dict[str, Any], folder: Path) -> Path:
    """Keep the figures in the card of a checkpoint folder, where the app looks for the threshold.

    Returns the card's file.
    """
    file = folder / "card.json"
    kept = {key: value for key, value in figures.items() if key != "rows"}
    card = {**inspect(folder)["card"], CARD_KEY: kept}
    file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help="a checkpoint folder or an embedded name")
    parser.add_argument("data", type=Path)
    parser.add_argument("--precision", type=float, default=PRECISION, help="wanted of 'absent'")
    parser.add_argument("--write", action="store_true", help="keep it in the checkpoint's card")
    options = parser.parse_args(arguments)
    figures = measure(options.checkpoint, options.data, options.precision)
    print("threshold  precision  recall  present phrases lost")
    for row in figures.pop("rows")[::4]:
        print(
            f"{row['threshold']:9.2f} {row['precision']:10.3f} {row['recall']:7.3f} "
            f"{row['present_lost']:10.3f}"
        )
    print(json.dumps(figures, indent=2))
    if options.write:
        file = write(figures, locate(options.checkpoint))
        print(f"kept in {file}")


if __name__ == "__main__":
    run_command(main)
