"""A detector's figures on data it was not trained on, through the same code as the app's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from detclipv2.detectors.protocol import Detector
from detclipv2.geometry.nms import batched_nms
from train.data.readers.grounding import GroundedPhrase
from train.evaluation.detector_sweep import Sweep, lowest_score
from train.evaluation.metrics.detection import BoxFigures, average_precision, average_recall
from train.evaluation.metrics.grounding import first_hit, recall_at
from train.evaluation.metrics.rows import ANYTHING
from train.evaluation.prompts_with_definitions import enrichment, questions_of

_NMS_IOU = 0.6
_PHRASE_BOXES = 10


def zero_shot_boxes(
    detector: Detector[Any],
    truth: dict[str, Any],
    images: Path,
    size: int | None = None,
    tiles: int = 1,
) -> tuple[BoxFigures, float]:
    """COCO figures of the class names as prompts, and class-agnostic AR@100.

    Args:
        detector: the detector.
        truth: COCO format; `text` of a category is its prompt, else its name.
        images: folder of the photos.
        size: long side of the network's input.
        tiles: along a photo's long side, see `Predictor.encode_image`.
    """
    photos = [(record["id"], images / record["file_name"]) for record in truth["images"]]
    questions = questions_of(truth["categories"], enrichment(detector))
    sweep = Sweep(size=size, tiles=tiles, floor=lowest_score(detector))
    rows = sweep.run(detector, photos, questions)
    assert rows is not None  # one process
    proposal = rows["category"] == ANYTHING
    return average_precision(truth, rows[~proposal]), average_recall(truth, rows[proposal]).all


def phrase_recall(
    detector: Detector[Any],
    photos: Sequence[tuple[Path, list[GroundedPhrase]]],
    size: int | None = None,
    tiles: int = 1,
) -> dict[int, float]:
    """Recall@1, 5, 10 of phrases at IoU 0.5, any box of the phrase; in percent."""
    hits: list[int | None] = []
    for path, phrases in tqdm(photos, unit="photo", leave=False, mininterval=5):
        if not phrases:
            continue
        texts = list(dict.fromkeys(p.text for p in phrases))
        boxes, scores = detector.score(detector.encode_image(path, size, tiles), texts)
        top = scores.topk(min(100, len(scores)), dim=0)
        column = torch.arange(len(texts)).expand_as(top.indices)
        chosen, strength, classes = top.indices.flatten(), top.values.flatten(), column.flatten()
        kept = batched_nms(boxes[chosen], strength, classes, _NMS_IOU)
        ranked = [
            boxes[chosen[kept[classes[kept] == k]]][:_PHRASE_BOXES] for k in range(len(texts))
        ]
        for phrase in phrases:
            hits.append(first_hit(ranked[texts.index(phrase.text)], torch.from_numpy(phrase.boxes)))
    return recall_at(hits)
