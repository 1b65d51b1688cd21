"""From classes to the labels of a project's labeling configuration, and what to add to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from app.labelstudio.connection import Connection
from app.labelstudio.payload import DEFAULT_TARGET, Target
from detclipv2.language.vocabulary import ConceptClass, Vocabulary

_TAKES = {
    "brushlabels": "masks", "brush": "masks", "bitmasklabels": "masks", "bitmask": "masks",
    "polygonlabels": "polygons", "polygon": "polygons", "ellipselabels": "ellipses",
    "ellipse": "ellipses", "keypointlabels": "points", "keypoint": "points",
    "rectangle": "boxes without names",
}  # fmt: skip
"""What other controls on images are for."""

How = Literal["exact", "case", "alias", "predicted_values", "unmatched"]


class ConfigError(ValueError):
    """A configuration that cannot take boxes; the message says what to change."""


@dataclass(frozen=True)
class Match:
    """Where one class goes: the label, None without one, and how it was found."""

    name: str
    label: str | None
    how: How


@dataclass(frozen=True)
class LabelMap:
    """A project's configuration seen from a vocabulary."""

    config: str
    target: Target
    matches: tuple[Match, ...]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Class name → label, of those that have one."""
        return {m.name: m.label for m in self.matches if m.label is not None}

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes without a label."""
        return tuple(m.name for m in self.matches if m.label is None)

    @property
    def addition(self) -> str:
        """The XML lines that would give every class a label; empty when none is missing."""
        from lxml import etree

        lines = []
        for name in self.missing:
            tag = etree.Element("Label", value=name)
            lines.append(etree.tostring(tag, encoding="unicode"))
        return "\n".join(lines)

    @property
    def completed(self) -> str:
        """The whole configuration with the missing labels added."""
        from lxml import etree

        root = etree.fromstring(self.config)
        control = next(
            e for e in root.iter("RectangleLabels", "Labels")
            if e.get("name") == self.target.from_name
        )  # fmt: skip
        for name in self.missing:
            control.append(etree.Element("Label", value=name))
        text: str = etree.tostring(root, encoding="unicode", pretty_print=True)
        return text


def read_config(config: str, vocabulary: Vocabulary, control: str | None = None) -> LabelMap:
    """Map every returned class to a label.

    Args:
        config: the project's labeling configuration, XML.
        vocabulary: the classes.
        control: name of the RectangleLabels, or of the Labels beside a Rectangle, to use; None for
            the one that knows most classes.

    Raises:
        ConfigError: no control draws labelled boxes on an image.
    """
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(config)
    except Exception as error:  # the SDK raises many kinds on broken XML
        raise ConfigError(f"the labeling configuration cannot be read: {error}") from error
    images = {tag.name: tag for tag in interface.objects if tag.tag.lower() == "image"}
    shapes = {
        name: tag.name
        for tag in interface.controls
        for name in tag.to_name
        if tag.tag.lower() == "rectangle"
    }
    maps = []
    for tag in interface.controls:
        kind = tag.tag.lower()
        if kind not in ("rectanglelabels", "labels") or (control and tag.name != control):
            continue
        for name in tag.to_name:
            if name in images and (kind == "rectanglelabels" or name in shapes):
                key = re.sub(r"^\$", "", str(images[name].attr.get("value", "$image")))
                target = Target(tag.name, name, key, shapes[name] if kind == "labels" else None)
                labels = {str(k): dict(v.attr) for k, v in tag.labels_attrs.items()}
                matches = tuple(_match(concept, labels) for concept in vocabulary.returned)
                maps.append(LabelMap(config, target, matches))
    if not maps:
        raise ConfigError(_nothing_takes_boxes(interface, [*images], vocabulary, control))
    return max(maps, key=lambda one: len(one.labels))


def _nothing_takes_boxes(
    interface: Any, images: Sequence[str], vocabulary: Vocabulary, control: str | None
) -> str:
    """Why a configuration takes no boxes, and the lines that would change it."""
    there = [
        f"<{tag.tag}> {tag.name!r}" + (f" takes {takes}" if takes else "")
        for tag in interface.controls
        for takes in [_TAKES.get(tag.tag.lower())]
    ]
    named = f" named {control!r}" if control else ""
    said = (
        f"the labeling configuration has no <RectangleLabels> on an <Image>{named}, nor <Labels> "
        f"with a <Rectangle> (its controls: {', '.join(there) or 'none'}); "
    )
    whole = config_for(vocabulary)
    if not images:
        return f"{said}use for example\n{whole}"
    from lxml import etree

    labels = etree.fromstring(whole).find("RectangleLabels")
    labels.set("toName", images[0])
    taken = {tag.name for tag in interface.controls}
    labels.set("name", next(n for n in ("label", "boxes", "detected") if n not in taken))
    text: str = etree.tostring(labels, encoding="unicode", pretty_print=True, with_tail=False)
    return f"{said}add inside its <View>\n{text}"


def labels_of_project(
    connection: Connection, project: int, vocabulary: Vocabulary
) -> dict[str, str]:
    """Class name → label of a project; classes without a label are left out."""
    found = connection.project(project)
    return read_config(found.get("label_config") or "", vocabulary).labels


def config_for(vocabulary: Vocabulary, target: Target = DEFAULT_TARGET) -> str:
    """A labeling configuration for a vocabulary: an image and one label a class."""
    from lxml import etree

    view = etree.Element("View")
    etree.SubElement(view, "Image", name=target.to_name, value=f"${target.data_key}", zoom="true")
    labels = etree.SubElement(view, "RectangleLabels", name=target.from_name, toName=target.to_name)
    for concept in vocabulary.returned:
        etree.SubElement(labels, "Label", value=concept.name)
    text: str = etree.tostring(view, encoding="unicode", pretty_print=True)
    return text


def _match(concept: ConceptClass, labels: Mapping[str, Mapping[str, Any]]) -> Match:
    """The label of one class: exact, then case, then aliases of either side."""
    if concept.name in labels:
        return Match(concept.name, concept.name, "exact")
    folded = {_fold(label): label for label in labels}
    if _fold(concept.name) in folded:
        return Match(concept.name, folded[_fold(concept.name)], "case")
    for label, attributes in labels.items():
        if _fold(str(attributes.get("value", ""))) == _fold(concept.name):
            return Match(concept.name, label, "alias")  # the label's key is its own alias
    for alias in concept.aliases:
        if _fold(alias) in folded:
            return Match(concept.name, folded[_fold(alias)], "alias")
    for text in concept.words:
        for label, attributes in labels.items():
            if _fold(text) in map(_fold, _split(str(attributes.get("predicted_values", "")))):
                return Match(concept.name, label, "predicted_values")
    return Match(concept.name, None, "unmatched")


def _fold(text: str) -> str:
    return " ".join(re.sub(r"[_\-\s]+", " ", text).casefold().split())


def _split(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
