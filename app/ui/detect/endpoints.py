"""The Detect tab's named endpoints, for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from app.engine import Engine
from app.ui.detect.drawings import Drawings
from app.ui.detect.find import DetectInputs, coco_of, find
from app.ui.shared import api as answers
from app.ui.shared.toasts import refusal
from app.ui.shared.trouble import Trouble


@dataclass(frozen=True)
class Endpoints:
    """/detect and /info.

    Args:
        engine: the one engine of this app.
        drawings: where drawn pictures are written.
    """

    engine: Engine
    drawings: Drawings

    def detect(
        self,
        photo: str | None,
        prompts: str,
        threshold: float = 0.3,
        nms_iou: float = 0.6,
        max_boxes: float = 100,
        tiles: int = 1,
    ) -> tuple[answers.Detected, str]:
        """Find the prompts in a photo, with tiles > 1 also in so many tiles along its long side.

        Returns the boxes as COCO JSON and the drawn picture.
        """
        inputs = DetectInputs(photo, prompts, threshold, nms_iou, max_boxes, tiles)
        found = find(self.engine, inputs)
        if isinstance(found, Trouble):
            raise refusal(found.message)
        assert photo is not None
        dataset = cast(answers.Detected, coco_of(self.engine, photo, found))
        return dataset, self.drawings.in_full(photo, found)

    def info(self) -> answers.Model:
        """The model behind this page: name, checkpoint, image size, measured speed."""
        return cast(answers.Model, self.engine.facts())
