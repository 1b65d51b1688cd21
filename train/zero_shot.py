"""A detector's figures on data it was not trained on, through the same code as the app's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from detclipv2.geometry.nms import batched_nms, nms
from detclipv2.inference.predictor import EncodedImage, Predictor
from detclipv2.language.embeddings import prompt_text
from detclipv2.language.vocabulary import Vocabulary
from train.data.grounding import GroundedPhrase
from train.metrics.detection import BoxFigures, average_precision, average_recall, detection_row
from train.metrics.grounding import first_hit, recall_at

_FLOOR = 0.01
_NMS_IOU = 0.6
_PROPOSALS = 100
_PHRASE_BOXES = 10


def zero_shot_boxes(
    predictor: Predictor, truth: dict[str, Any], images: Path, size: int | None = None
) -> tuple[BoxFigures, float]:
    """COCO figures of the class names as prompts, and class-agnostic AR@100.

    Args:
        predictor: the detector.
        truth: COCO format; `text` of a category is its prompt, else its name.
        images: folder of the photos.
        size: long side of the network's input.
    """
    ids = [c["id"] for c in truth["categories"]]
    vocabulary = Vocabulary.of([str(c.get("text") or c["name"]) for c in truth["categories"]])
    concepts = _embed(predictor, vocabulary.texts)
    rows, proposals = [], []
    for record in tqdm(truth["images"], unit="photo", leave=False, mininterval=5):
        encoded = predictor.encode_image(images / record["file_name"], size)
        found = predictor.detect(encoded, vocabulary, threshold=_FLOOR, nms_iou=_NMS_IOU)
        scores, classes = np.asarray(found.confidence), np.asarray(found.class_id)
        rows += [
            detection_row(record["id"], ids[k], box, score)
            for box, score, k in zip(found.xyxy, scores, classes, strict=True)
        ]
        proposals += [
            detection_row(record["id"], ids[0], box, score)
            for box, score in zip(*propose(predictor, encoded, concepts), strict=True)
        ]
    return average_precision(truth, rows), average_recall(truth, proposals)


def propose(predictor: Predictor, encoded: EncodedImage, concepts: Tensor) -> tuple[Tensor, Tensor]:
    """The 100 likeliest boxes of anything, by the best class's score, NMS over all classes."""
    boxes, scores = _scores(predictor, encoded, concepts)
    best = scores.amax(dim=1)
    kept = nms(boxes, best, 0.7)[:_PROPOSALS]
    return boxes[kept], best[kept]


def phrase_recall(
    predictor: Predictor, photos: Sequence[tuple[Path, list[GroundedPhrase]]],
    size: int | None = None,
) -> dict[int, float]:  # fmt: skip
    """Recall@1, 5, 10 of phrases at IoU 0.5, any box of the phrase; in percent."""
    hits: list[int | None] = []
    for path, phrases in tqdm(photos, unit="photo", leave=False, mininterval=5):
        if not phrases:
            continue
        texts = list(dict.fromkeys(p.text for p in phrases))
        encoded = predictor.encode_image(path, size)
        boxes, scores = _scores(predictor, encoded, _embed(predictor, texts))
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


def _embed(predictor: Predictor, texts: Sequence[str]) -> Tensor:
    """(K, D), past the caches: weights change between two evaluations of a run."""
    template = predictor.model.config.text.template
    prompts = [prompt_text(template, text) for text in texts]
    with torch.inference_mode():
        parts = [
            predictor.model.encode_text(prompts[i : i + 64]) for i in range(0, len(prompts), 64)
        ]
    return torch.cat(parts).cpu()


def _scores(predictor: Predictor, encoded: EncodedImage, concepts: Tensor) -> tuple[Tensor, Tensor]:
    """All boxes (A, 4) in the original's pixels and their scores (A, K), nothing left out."""
    regions = encoded.regions
    with torch.inference_mode():
        logits = predictor.model.similarity(
            regions.embeddings.to(predictor.device), concepts.to(predictor.device)
        ).cpu()
    scores = (logits.sigmoid() * regions.centerness.sigmoid()[:, None]).sqrt()
    return encoded.letterbox.to_original(regions.boxes), scores
