"""What words say of an indexed region is what `ask` and detection say."""

from __future__ import annotations

import numpy as np
from PIL import Image

from app.adaptation.words import Words
from detclipv2.geometry.boxes import clip
from detclipv2.inference.adapted_classes import EDGE
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary


def test_scores_of_words_are_the_predictors(predictor: Predictor) -> None:
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    encoded = predictor.encode_image(photo)
    vocabulary = Vocabulary.parse("cat: kitten, tabby\nred mug\n!shadow")
    words = Words.of(predictor, vocabulary)
    assert words.names == ("cat", "red mug")
    regions = encoded.regions
    found = words.logits(regions.embeddings.detach().numpy(), regions.localisation.numpy())
    scores = 1 / (1 + np.exp(-found.astype(float)))
    rows = predictor.score_table(encoded, vocabulary)
    shown = rows.select(threshold=0.0, nms_iou=1.0, max_boxes=10**6)
    assert shown.confidence is not None and shown.class_id is not None
    assert len(shown) > 50
    boxes = clip(encoded.letterbox.to_original(regions.boxes), *encoded.size).numpy()
    for box, score, k in zip(shown.xyxy, shown.confidence, shown.class_id, strict=True):
        at = np.abs(boxes - box).max(axis=1) < 1e-3
        assert np.abs(scores[at, k] - score).min() < 1e-4
    masked = found.min(axis=1) == -EDGE
    assert masked.any() and not masked.all(), "where a negative fits better there is no class"
