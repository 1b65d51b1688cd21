"""Make scores mean the same.

    python -m train.evaluation.calibrate_scores CHECKPOINT DATA [--write] [--photos N]

Boxes found for phrases of flickr8k's train split, and for as many that are not in the photo, are
right where they lie on one of the phrase's boxes (IoU 0.5, every box once). One scale and one bias
turn scores into the share that is right (Platt scaling); the val split says how well that holds.
The bias is then moved so that 0.3, the default threshold everywhere, is where the val split's
phrases are found best (F1): on photos that the checkpoint was trained on its scores are higher than
on others. That counts boxes as the checkpoint gives them, soft suppression included where it has
it. `--write` keeps scale and bias in the checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from detclipv2.checkpoint import inspect, load_checkpoint, locate, save_checkpoint
from detclipv2.command import run_command
from detclipv2.geometry.boxes import iou_matrix
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from train.data.readers.grounding import read_phrases
from train.data.sample import Boxes
from train.evaluation.calibrate_absence import Photos, swapped

CARD_KEY = "calibration"
_FLOOR = 0.05
_DEFAULT = 0.3
_IOU = 0.5
_BINS = 10
_EDGE = 1e-6
_ROUNDS, _SETTLED = 5, 0.01


@dataclass(frozen=True)
class Found:
    """What was found for the phrases of some photos.

    Attributes:
        scores: (N,) of the boxes.
        right: (N,) bool.
        wanted: how many boxes of phrases there were.
    """

    scores: Tensor
    right: Tensor
    wanted: int

    def under(self, calibration: Calibration) -> Found:
        """The same boxes with other scores."""
        return Found(calibration.apply(self.scores), self.right, self.wanted)


def collect(
    predictor: Predictor,
    photos: Photos,
    seed: int = 0,
    kept: dict[Path, EncodedImage] | None = None,
) -> Found:
    """Boxes of each photo's phrases and of absent ones, with what is right of them.

    Args:
        predictor: what finds them.
        photos: with their phrases.
        seed: of which absent phrases.
        kept: photos that were looked at already, to which others are added.
    """
    scores: list[Tensor] = []
    right: list[Tensor] = []
    wanted = 0
    pairs = swapped(photos, seed)
    for (path, phrases), (own, absent) in zip(tqdm(photos, mininterval=5), pairs, strict=True):
        if not own:
            continue
        # A vocabulary holds "A man" and "a man" once.
        named = [_plain(text) for text in own]
        words = list(dict.fromkeys([*named, *map(_plain, absent)]))
        truth = {
            name: _boxes([p.boxes for p in phrases if _plain(p.text) == name]) for name in named
        }
        encoded = (kept or {}).get(path) or predictor.encode_image(path)
        if kept is not None:
            kept[path] = encoded
        found = predictor.detect(encoded, words, threshold=_FLOOR, max_boxes=300)
        assert found.class_id is not None and found.confidence is not None
        wanted += sum(map(len, truth.values()))
        boxes = torch.from_numpy(found.xyxy).float()
        scores.append(torch.from_numpy(found.confidence))
        hit = torch.zeros(len(boxes), dtype=torch.bool)
        for name, true in truth.items():
            mine = torch.from_numpy(np.flatnonzero(found.class_id == words.index(name)))
            hit[mine] = matched(boxes[mine], true)
        right.append(hit)
    if not scores:
        raise ValueError("no phrase with a box among these photos")
    return Found(torch.cat(scores), torch.cat(right), wanted)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _boxes(parts: Sequence[Boxes]) -> Tensor:
    return torch.from_numpy(np.unique(np.concatenate(parts), axis=0)).float()


def matched(boxes: Tensor, truth: Tensor) -> Tensor:
    """(N,) bool: which boxes, best first, lie on a true one that no better box has taken.

    Args:
        boxes: (N, 4) xyxy by falling score.
        truth: (M, 4) xyxy.
    """
    hit = torch.zeros(len(boxes), dtype=torch.bool)
    if not len(truth):
        return hit
    overlap = iou_matrix(boxes, truth)
    for index in range(len(boxes)):
        best = int(overlap[index].argmax())
        if overlap[index, best] >= _IOU:
            hit[index] = True
            overlap[:, best] = -1
    return hit


def fit(found: Found) -> Calibration:
    """Logistic regression of being right on the score's logit.

    Raises:
        ValueError: all boxes are right, or none is.
    """
    if found.right.all() or not found.right.any():
        raise ValueError("a calibration needs right and wrong boxes; take more photos")
    logits = found.scores.double().clamp(_EDGE, 1 - _EDGE).logit()
    line = torch.tensor([1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(
            line[0] * logits + line[1], found.right.double()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    scale, bias = line.tolist()
    return Calibration(scale, bias)


def anchored(calibration: Calibration, found: Found) -> Calibration:
    """The same curve, moved so that the threshold with the best F1 becomes the default one."""
    # A score may round to 1.
    best = min(best_f1(found.under(calibration))[0], 1 - _EDGE)
    shift = math.log(_DEFAULT / (1 - _DEFAULT)) - math.log(best / (1 - best))
    return Calibration(calibration.scale, calibration.bias + shift)


def settled(
    predictor: Predictor, begin: Calibration, photos: Photos, kept: dict[Path, EncodedImage]
) -> tuple[Calibration, Found]:
    """`anchored` by what the predictor gives, and that.

    What a box loses to soft suppression changes with the scores, so this takes some rounds. `kept`
    is as for `collect`.
    """
    calibration = begin
    for _ in range(_ROUNDS):
        predictor.calibration = calibration
        found = collect(predictor, photos, kept=kept)
        shift = anchored(Calibration(), found).bias
        if abs(shift) < _SETTLED:
            break
        calibration = Calibration(calibration.scale, calibration.bias + shift)
    return calibration, found


def expected_error(scores: Tensor, right: Tensor) -> float:
    """Expected calibration error: mean distance of score and share of right boxes, in ten bins."""
    place = (scores * _BINS).long().clamp(max=_BINS - 1)
    parts = [(place == b).nonzero()[:, 0] for b in range(_BINS)]
    gaps = [
        len(p) * abs(float(scores[p].mean() - right[p].float().mean())) for p in parts if len(p)
    ]
    return sum(gaps) / len(scores)


def best_f1(found: Found) -> tuple[float, float]:
    """The threshold with the best F1 over all phrases' boxes, and that F1."""
    order = found.scores.argsort(descending=True)
    hits = found.right[order].cumsum(0).double()
    kept = torch.arange(1, len(order) + 1)
    f1 = 2 * hits / (kept + found.wanted)
    best = int(f1.argmax())
    return float(found.scores[order[best]]), float(f1[best])


def f1_at(found: Found, threshold: float) -> float:
    """F1 of the boxes from `threshold` on."""
    kept = found.scores >= threshold
    return float(2 * (found.right & kept).sum() / max(1, int(kept.sum()) + found.wanted))


def calibrate(
    checkpoint: str | Path, data: Path, photos: int = 600, threads: int | None = None
) -> tuple[DetCLIPv2, dict[str, float]]:
    """The checkpoint with the scores calibrated, and figures of the calibration.

    Args:
        checkpoint: name or folder.
        data: folder with flickr8k/grounding.json.
        photos: of the train split.
        threads: CPU threads; None for torch's choice.

    Raises:
        ValueError: all boxes found are right, or none is.
    """
    model = load_checkpoint(checkpoint)
    own = model.serving
    # Boxes that lost score beside better ones would bend the curve.
    model.serving = dataclasses.replace(own, score_scale=1.0, score_bias=0.0, soft_nms=0.0)
    predictor = Predictor(model, threads=threads)
    file = data / "flickr8k" / "grounding.json"
    train = read_phrases(file, split="train")
    seen = random.Random(0).sample(train, min(photos, len(train)))
    share = fit(collect(predictor, seen))
    unseen = read_phrases(file, split="val")
    kept: dict[Path, EncodedImage] = {}
    held_out = collect(predictor, unseen, kept=kept)
    model.serving = dataclasses.replace(own, score_scale=1.0, score_bias=0.0)
    # Weights that are hardly ever right would have no box left at the floor.
    left = bool((held_out.under(share).scores >= _FLOOR).any())
    begin = share if left else anchored(share, held_out)
    calibration, after = settled(predictor, begin, unseen, kept)
    figures = {
        "scale": calibration.scale,
        "bias": calibration.bias,
        # What to add to a score's logit to have the share of right boxes.
        "bias_to_share": share.bias - calibration.bias,
        "photos": len(seen),
        "val_error_of_raw_scores": expected_error(held_out.scores, held_out.right),
        "val_error_of_shares": expected_error(held_out.under(share).scores, held_out.right),
        "val_best_f1": best_f1(after)[1],
        "val_f1_at_0.3": f1_at(after, 0.3),
        "val_f1_of_raw_0.3": f1_at(held_out, 0.3),
    }
    model.serving = dataclasses.replace(
        own, score_scale=calibration.scale, score_bias=calibration.bias
    )
    return model, figures


def write(model: DetCLIPv2, figures: dict[str, float], folder: Path) -> None:
    """Keep a calibrated model in the checkpoint folder that it was read from."""
    card = inspect(folder)["card"]
    save_checkpoint(model, folder, {**card, CARD_KEY: figures})


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help="name or folder")
    parser.add_argument("data", type=Path, help="folder with flickr8k/grounding.json")
    parser.add_argument("--write", action="store_true", help="keep it in the checkpoint")
    parser.add_argument("--photos", type=int, default=600, help="of the train split")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args(arguments)
    model, figures = calibrate(options.checkpoint, options.data, options.photos, options.threads)
    print(json.dumps(figures, indent=2))
    if options.write:
        write(model, figures, locate(options.checkpoint))


if __name__ == "__main__":
    run_command(main)
