"""The Detect tab's named endpoints, for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from app.engine import Engine
from app.ui.detect.drawings import Drawings
from app.ui.detect.find import DetectControls, DetectInputs, coco_of, find
from app.ui.shared import api as answers
from app.ui.shared.toasts import refusal
from app.ui.shared.trouble import Trouble
from detclipv2.serving import DEFAULTS, Looks


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
        threshold: float = DEFAULTS.threshold,
        nms_iou: float = DEFAULTS.nms_iou,
        max_boxes: float = DEFAULTS.max_boxes,
        tiles: int = DEFAULTS.tiles,
        looks: Looks = DEFAULTS.looks,
        one_name: bool = DEFAULTS.one_name,
        whole_things: bool = DEFAULTS.whole_things,
    ) -> tuple[answers.Detected, str]:
        """Find the prompts in a photo, with tiles > 1 also in that many tiles along its long side.

        Looks "fast" looks once at the photo, "thorough" as often as the model can. With `one_name`
        each place keeps its best name alone; with `whole_things` parts of a better box of their
        class are dropped, and boxes round it.
        Returns the boxes as COCO JSON and the drawn picture.
        """
        controls = DetectControls(
            threshold, nms_iou, max_boxes, tiles, looks, one_name, whole_things
        )
        found = find(self.engine, DetectInputs(photo, prompts, controls))
        if isinstance(found, Trouble):
            raise refusal(found.message)
        assert photo is not None
        dataset = cast(answers.Detected, coco_of(self.engine, photo, found))
        return dataset, self.drawings.in_full(photo, found)

    def info(self) -> answers.Model:
        """The model behind this page: name, checkpoint, image size, measured speed."""
        return cast(answers.Model, self.engine.facts())
