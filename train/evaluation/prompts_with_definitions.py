"""Names with their definitions: as a checkpoint learned from names, so it is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from detclipv2.detectors.protocol import Detector
from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from detclipv2.language.definitions import Definitions
from detclipv2.language.vocabulary import MAX_CHARACTERS
from train.evaluation.detector_sweep import Questions
from train.evaluation.metrics.detection import prompt_of
from train.tasks.text_encoding import Texts

Enrich = Callable[[Sequence[str]], Sequence[str]]
"""From class names to prompts."""


def enrichment(detector: Detector[Any], wanted: bool | None = None) -> Enrich | None:
    """What makes prompts of class names for `detector`; None where they are asked as they are.

    Names outside the dictionary borrow the definition that training would give them, as far as the
    text tower still is what it was when training began.

    Args:
        detector: the detector.
        wanted: definitions or none; by default as the checkpoint's training data had them.

    Raises:
        ValueError: definitions are wanted of another kind of detector.
    """
    if not isinstance(detector, Predictor):
        if wanted:
            raise ValueError("definitions are for checkpoints of this project")
        return None
    if not (detector.model.config.text.definitions if wanted is None else wanted):
        return None
    device = next(detector.model.parameters()).device
    return Definitions(load_concepts(), Texts(detector.model, device=device).plain).enrich_all


def questions_of(categories: Sequence[dict[str, Any]], enrich: Enrich | None) -> Questions:
    """What a detector is asked for COCO's `categories`."""
    names: Sequence[str] = [prompt_of(category).replace("_", " ") for category in categories]
    if enrich is not None:
        names = [text[:MAX_CHARACTERS].strip() for text in enrich(names)]
    return Questions.of(names, [category["id"] for category in categories])
