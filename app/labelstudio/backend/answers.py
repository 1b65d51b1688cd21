"""What the live backend answers to a task: boxes of its images, as a prediction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.box import Box
from app.labelstudio.api.config_map import LabelMap
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.labeling_config import Control, ImageTag, read_labeling_config
from app.labelstudio.api.payload import Region, Target, prediction, regions_of
from app.labelstudio.backend.detection import detect, detect_inside
from app.labelstudio.backend.label_config import read_labels
from app.labelstudio.backend.prompts import Query
from app.runs.files import SourceError
from app.runs.records import ImageRef
from detclipv2.language.vocabulary import ConceptClass, Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)

Answer = dict[str, Any] | list[Any]
"""To one task: a prediction, or an empty list for none, after which the server asks again."""


@dataclass(frozen=True)
class Answers:
    """Makes them.

    Args:
        images: reads the tasks' images.
    """

    images: TaskImages

    def inside(
        self,
        detector: Detector[Any],
        drawn: Sequence[Region],
        tasks: Sequence[Mapping[str, Any]],
        config: str,
        query: Query,
    ) -> Answer:
        """What is inside drawn rectangles, in percent, each under its label.

        A rectangle in which nothing is found comes back as it was drawn: the page takes away what
        it was drawn with once there is an answer.
        """
        controls = read_labeling_config(config).controls
        words = {concept.name: concept for concept in read_labels(config).vocabulary.returned}
        result: list[dict[str, Any]] = []
        for region in drawn:
            control = _control_of(region, controls)
            if control is None or region.box.name not in words or not tasks:
                continue
            places = dict(_places(tasks[0], [control.image]))
            key = control.image.name, region.image[1] if control.image.many else None
            picture = self._open(tasks[0], places.get(key))
            if picture is None:
                continue
            name, (x1, y1, x2, y2) = region.box.name, region.box.xyxy
            w, h = picture.width / 100, picture.height / 100
            around = Box(name, region.box.score, (x1 * w, y1 * h, x2 * w, y2 * h))
            alone = Vocabulary((ConceptClass(name, words[name].aliases),))
            box = detect_inside(detector, picture, alone, around, query.settings) or around
            target = Target(control.name, control.image.name, control.shape)
            result += regions_of([box], picture.size, {name: (target, name)}, key[1])
        return prediction(result, query.version) if result else []

    def whole(
        self, detector: Detector[Any], task: Mapping[str, Any], labels: LabelMap, query: Query
    ) -> Answer:
        """The boxes of all images of a task; nothing if one of them cannot be opened."""
        where = {tag.name: classes for tag, classes in labels.images}
        places = _places(task, [tag for tag, _ in labels.images])
        if not places:
            log.warning("task %s has no image in %s", task.get("id"), [*where])
        result: list[dict[str, Any]] = []
        for (name, item), url in places:
            picture = self._open(task, url)
            if picture is None:
                return []
            boxes = detect(detector, picture, query.vocabulary, query.settings)
            result += regions_of(boxes, picture.size, where[name], item)
        return prediction(result, query.version) if places else []

    def _open(self, task: Mapping[str, Any], url: str | None) -> Image.Image | None:
        """An image of a task, upright; None where it cannot be had."""
        from detclipv2.inference.images import open_image

        if url is None:
            return None
        try:
            ref = ImageRef(f"task {task.get('id')}", url, None, task.get("id"))
            return open_image(self.images.read(ref))
        except (SourceError, OSError, ValueError) as error:
            log.warning("task %s: %s", task.get("id"), str(error)[:500])
            return None


def _places(
    task: Mapping[str, Any], tags: Sequence[ImageTag]
) -> list[tuple[tuple[str, int | None], str]]:
    """The images of a task: name of the tag and place in its list, and address."""
    data = task.get("data", {})
    return [((tag.name, item), url) for tag in tags for item, url in tag.addresses(data)]


def _control_of(region: Region, controls: Sequence[Control]) -> Control | None:
    """The control that a region was drawn with."""
    for control in controls:
        if (control.name, control.image.name) == (region.control, region.image[0]):
            return control
    return None
