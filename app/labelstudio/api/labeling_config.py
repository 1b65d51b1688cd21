"""The one reader of labeling configurations: which controls draw labelled boxes on which images.

It reads as Label Studio's page does: tags and attributes in any case, comments passed over, data
named by paths like `$image` or `$page.url`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.labelstudio.api.config_xml import ConfigError, Tag, parse_xml, tag_of
from app.labelstudio.api.task_data import resolved

PROMPT = "prompt"
"""Name of the <TextArea> on an image whose text is the live backend's prompt, as in the examples of
Label Studio's own backends."""

_TAKES = {
    "brushlabels": "masks",
    "brush": "masks",
    "bitmasklabels": "masks",
    "bitmask": "masks",
    "polygonlabels": "polygons",
    "polygon": "polygons",
    "ellipselabels": "ellipses",
    "ellipse": "ellipses",
    "keypointlabels": "points",
    "keypoint": "points",
    "vectorlabels": "lines",
    "vector": "lines",
    "rectangle": "boxes without names",
    "videorectangle": "boxes of videos",
}
"""What other controls are for."""


@dataclass(frozen=True)
class ImageTag:
    """An <Image>, and where a task's data has its addresses.

    Attributes:
        name: of the tag.
        value: e.g. `$image`, or an address around it.
        many: whether it shows a list of images (`valueList`), told apart by `item_index`.
    """

    name: str
    value: str
    many: bool = False

    @property
    def key(self) -> str | None:
        """The one field of the data that it shows; None where it is more than a field."""
        found = re.fullmatch(r"\$(\w+)", self.value)
        return None if found is None else found[1]

    def addresses(self, data: Mapping[str, Any]) -> list[tuple[int | None, str]]:
        """The images of a task: place in the list, None without one, and address."""
        value = resolved(self.value, data)
        if not self.many:
            if isinstance(value, list) and len(value) == 1:
                (value,) = value
            return [(None, value)] if isinstance(value, str) and value else []
        if not isinstance(value, list):
            return []
        return [(i, one) for i, one in enumerate(value) if isinstance(one, str) and one]


@dataclass(frozen=True)
class Label:
    """A label of a control.

    Attributes:
        name: what regions carry: its alias, else its value.
        value: what the page shows.
        predicted: further words for it (`predicted_values`).
        threshold: its `model_score_threshold`, None without one.
    """

    name: str
    value: str
    predicted: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True)
class Control:
    """A control that draws labelled boxes on one image.

    Attributes:
        name: of the <RectangleLabels>, or of the <Labels> beside a <Rectangle>.
        image: what it draws on.
        labels: its labels, no name twice.
        shape: name of the <Rectangle> that draws for <Labels>, else None.
        threshold: its `model_score_threshold`, None without one.
    """

    name: str
    image: ImageTag
    labels: tuple[Label, ...]
    shape: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class LabelingConfig:
    """What a configuration offers to a detector.

    Attributes:
        xml: as it is written.
        images: its images.
        controls: those that take boxes, one for each image they draw on.
        prompts: names of the <TextArea>s that take the live backend's prompt, with their image.
        refused: other controls, and why none of them gets boxes.
        names: of all its tags.
    """

    xml: str
    images: tuple[ImageTag, ...]
    controls: tuple[Control, ...]
    prompts: tuple[tuple[str, str], ...]
    refused: tuple[str, ...]
    names: frozenset[str]


@lru_cache(maxsize=32)
def read_labeling_config(xml: str) -> LabelingConfig:
    """Read a configuration.

    Raises:
        ConfigError: it is no XML, or a threshold is no number in 0..1.
    """
    root = parse_xml(xml, comments=False)
    tags = list(_tags(root))
    images: dict[str, ImageTag] = {}
    shapes: dict[str, str] = {}
    refused: list[str] = []
    for tag in tags:
        if tag.kind == "image" and tag.name and not tag.repeated:
            images[tag.name] = ImageTag(
                tag.name, tag.get("valuelist") or tag.get("value"), bool(tag.get("valuelist"))
            )
        if tag.kind == "rectangle":
            shapes |= {to: tag.name for to in tag.targets}
    controls: list[Control] = []
    prompts: list[tuple[str, str]] = []
    for tag in tags:
        on = [images[to] for to in tag.targets if to in images]
        if tag.kind == "textarea" and tag.name.casefold() == PROMPT and on:
            if tag.get("perregion") != "true":
                prompts.append((tag.name, on[0].name))
        elif tag.kind in ("rectanglelabels", "labels"):
            refused += _boxes(tag, on, shapes, controls)
        elif tag.kind in _TAKES and (on or tag.kind == "videorectangle"):
            refused.append(f"{tag} takes {_TAKES[tag.kind]}")
    drawing = {control.shape for control in controls}
    refused = [one for one in refused if not any(f"{name!r}" in one for name in drawing if name)]
    return LabelingConfig(
        xml,
        tuple(images.values()),
        tuple(controls),
        tuple(prompts),
        tuple(refused),
        frozenset(tag.name for tag in tags if tag.name),
    )


def _tags(root: Any) -> Iterator[Tag]:
    """All tags, in the order they are written; those in a <Repeater> know it."""
    stack = [(root, False)]
    while stack:
        element, repeated = stack.pop()
        tag = tag_of(element, repeated=repeated)
        yield tag
        inside = repeated or tag.kind == "repeater"
        stack += [(child, inside) for child in reversed(element) if isinstance(child.tag, str)]


def _boxes(
    tag: Tag, on: list[ImageTag], shapes: Mapping[str, str], controls: list[Control]
) -> list[str]:
    """Add what a control takes to `controls`; returns why it does not take boxes, if so."""
    if tag.kind == "labels":
        on = [image for image in on if image.name in shapes]
        if not on and not (tag.repeated and shapes):
            return []  # of texts, sounds or other shapes
    if tag.repeated:
        return [f"{tag} is inside a <Repeater>, and Label Studio drops predictions for it"]
    if not on:
        return [f"{tag} is on no <Image>"]
    labels = _labels(tag)
    if not labels and (tag.get("value") or tag.get("apiurl")):
        return [f"{tag} takes its labels from the tasks ({tag.get('value') or 'apiUrl'})"]
    threshold = _number(tag.get("model_score_threshold"))
    controls += [
        Control(
            tag.name, image, labels, shapes[image.name] if tag.kind == "labels" else None, threshold
        )
        for image in on
    ]
    return []


def _labels(tag: Tag) -> tuple[Label, ...]:
    found: dict[str, Label] = {}
    for element in tag.element.iter():
        one = tag_of(element)
        value = one.get("value")
        name = one.get("alias") or value
        if one.kind != "label" or not name.strip() or name in found:
            continue
        words = (" ".join(word.split()) for word in one.get("predicted_values").split(","))
        found[name] = Label(
            name, value, tuple(filter(None, words)), _number(one.get("model_score_threshold"))
        )
    return tuple(found.values())


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"model_score_threshold={text!r} is no number in 0..1") from error
    if not 0 <= value <= 1:
        raise ConfigError(f"model_score_threshold={text!r} must lie in 0..1")
    return value
