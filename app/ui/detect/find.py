"""From a photo and words to boxes, for the page and for the endpoint alike; no gradio here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from app.engine import Engine
from app.engine_types import Result
from app.formats.coco import CocoDataset
from app.photo_cache import ReportProgress
from app.ui.shared.trouble import Trouble
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import VocabularyError
from detclipv2.serving import DetectSettings


class DetectControls(NamedTuple):
    """The controls of `DetectSettings`: components of the page, or what they say."""

    threshold: Any
    nms_iou: Any
    max_boxes: Any
    tiles: Any
    looks: Any
    one_name: Any
    whole_things: Any

    def settings(self, defaults: DetectSettings) -> DetectSettings:
        """As settings of the model; what has no control is as in `defaults`.

        Raises:
            ValueError: one out of range.
        """
        return replace(
            defaults,
            threshold=float(self.threshold),
            nms_iou=float(self.nms_iou),
            max_boxes=int(self.max_boxes),
            tiles=int(self.tiles),
            looks=self.looks,
            one_name=bool(self.one_name),
            whole_things=bool(self.whole_things),
        )

    @classmethod
    def of(cls, settings: DetectSettings) -> DetectControls:
        """The controls at these settings."""
        return cls(*(getattr(settings, name) for name in cls._fields))


@dataclass(frozen=True)
class DetectInputs:
    """What the tab's controls say.

    Attributes:
        photo: the photo's file; None without one.
        prompts: the words.
        controls: the settings.
    """

    photo: str | None
    prompts: str
    controls: DetectControls


def find(
    engine: Engine, inputs: DetectInputs, progress: ReportProgress | None = None
) -> Result | Trouble:
    """Find the words in the photo, or say why not."""
    if not inputs.prompts.strip():
        return Trouble("No words yet. Type what to look for, e.g. “cat, a red mug”.")
    if inputs.photo is None:
        return Trouble("No photo yet. Upload, drop or paste one, or pick a sample.")
    try:
        settings = inputs.controls.settings(engine.defaults)
    except (TypeError, ValueError) as error:
        return Trouble.of(error)
    try:
        return engine.detect(inputs.photo, inputs.prompts, settings, progress=progress)
    except (ImageError, VocabularyError, DetectorError) as error:
        return Trouble.of(error)


def coco_of(engine: Engine, source: str, result: Result) -> dict[str, Any]:
    """The boxes of a photo in COCO's format."""
    dataset = CocoDataset(
        result.vocabulary.names, engine.describe(result.vocabulary, result.settings)
    )
    dataset.add(Path(source).name, result.size, result.detections)
    return dataset.to_dict()
