"""From a photo and words to boxes, for the page and for the endpoint alike; no gradio here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engine import Engine
from app.engine_types import Result, Settings
from app.formats.coco import CocoDataset
from app.photo_cache import ReportProgress
from app.ui.shared.trouble import Trouble
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import VocabularyError


@dataclass(frozen=True)
class DetectInputs:
    """What the tab's controls say.

    Attributes:
        photo: the photo's file; None without one.
        prompts: the words.
        threshold: see `Settings`, as are the following.
        nms_iou: likewise.
        max_boxes: a slider's number.
        tiles: likewise.
    """

    photo: str | None
    prompts: str
    threshold: float = Settings.threshold
    nms_iou: float = Settings.nms_iou
    max_boxes: float = Settings.max_boxes
    tiles: int = Settings.tiles


def find(
    engine: Engine, inputs: DetectInputs, progress: ReportProgress | None = None
) -> Result | Trouble:
    """Find the words in the photo, or say why not."""
    if not inputs.prompts.strip():
        return Trouble("No words yet. Type what to look for, e.g. “cat, a red mug”.")
    if inputs.photo is None:
        return Trouble("No photo yet. Upload, drop or paste one, or pick a sample.")
    try:
        settings = Settings(
            inputs.threshold, inputs.nms_iou, int(inputs.max_boxes), int(inputs.tiles)
        )
        return engine.detect(inputs.photo, inputs.prompts, settings, progress=progress)
    except (ImageError, VocabularyError, DetectorError) as error:
        return Trouble(str(error))


def coco_of(engine: Engine, source: str, result: Result) -> dict[str, Any]:
    """The boxes of a photo in COCO's format."""
    dataset = CocoDataset(
        result.vocabulary.names, engine.describe(result.vocabulary, result.settings)
    )
    dataset.add(Path(source).name, result.size, result.detections)
    return dataset.to_dict()
