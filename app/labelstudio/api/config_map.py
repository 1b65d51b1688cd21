"""From classes to the labels of a project's labeling configuration, and what to add to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lxml import etree

from app.labelstudio.api.config_xml import ConfigError, parse_xml, tag_of
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.labeling_config import (
    Control,
    ImageTag,
    Label,
    LabelingConfig,
    read_labeling_config,
)
from app.labelstudio.api.payload import DEFAULT_TARGET, Places, Target
from detclipv2.language.vocabulary import ConceptClass, Vocabulary

__all__ = ["LabelMap", "Match", "config_for", "labels_of_project", "read_config"]

How = Literal["exact", "case", "alias", "predicted_values", "unmatched"]
_QUALITY: tuple[How, ...] = ("exact", "case", "alias", "predicted_values", "unmatched")


@dataclass(frozen=True)
class Match:
    """Where one class goes on one image: the label, None without one, and how it was found."""

    name: str
    label: str | None
    how: How
    control: str = ""


@dataclass(frozen=True)
class LabelMap:
    """A project's configuration seen from a vocabulary.

    Attributes:
        config: as it is written.
        images: its images that take boxes, and where each class goes there.
        matches: the best place of each class, over all images.
        extended: the control that missing labels are added to.
        refused: other controls for boxes, and why they get none.
    """

    config: str
    images: tuple[tuple[ImageTag, Places], ...]
    matches: tuple[Match, ...]
    extended: str
    refused: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> dict[str, str]:
        """Class name → label, of those that have one."""
        return {m.name: m.label for m in self.matches if m.label is not None}

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes without a label on any image."""
        return tuple(m.name for m in self.matches if m.label is None)

    @property
    def addition(self) -> str:
        """The XML lines that would give every class a label; empty when none is missing."""
        tags = [etree.Element("Label", value=name) for name in self.missing]
        return "\n".join(etree.tostring(tag, encoding="unicode") for tag in tags)

    @property
    def completed(self) -> str:
        """The whole configuration with the missing labels added."""
        root = parse_xml(self.config)
        tags = [tag_of(element) for element in root.iter() if isinstance(element.tag, str)]
        control = next(
            tag.element
            for tag in tags
            if tag.kind in ("rectanglelabels", "labels") and tag.name == self.extended
        )
        there = {tag_of(one).get("value") for one in control.iter(etree.Element)}
        for name in self.missing:
            if name not in there:
                control.append(etree.Element("Label", value=name))
        text: str = etree.tostring(root, encoding="unicode", pretty_print=True)
        return text


def read_config(xml: str, vocabulary: Vocabulary, control: str | None = None) -> LabelMap:
    """Map every returned class to a label of each image.

    Args:
        xml: the project's labeling configuration.
        vocabulary: the classes.
        control: name of the only control to use; None for all.

    Raises:
        ConfigError: no control draws labelled boxes on an image.
    """
    read = read_labeling_config(xml)
    controls = [one for one in read.controls if control is None or one.name == control]
    if not controls:
        raise ConfigError(_nothing_takes_boxes(read, vocabulary, control))
    by_image: dict[ImageTag, list[Control]] = {}
    for one in controls:
        by_image.setdefault(one.image, []).append(one)
    best: dict[str, Match] = {}
    matched = {one.name: 0 for one in controls}
    images = []
    for image, those in by_image.items():
        places: dict[str, tuple[Target, str]] = {}
        for concept in vocabulary.returned:
            found = [(_match(concept, one), one) for one in those]
            match, place = min(found, key=lambda pair: _QUALITY.index(pair[0].how))
            if match.label is not None:
                places[concept.name] = Target(place.name, image.name, place.shape), match.label
                matched[place.name] += 1
            before = best.setdefault(concept.name, match)
            if _QUALITY.index(match.how) < _QUALITY.index(before.how):
                best[concept.name] = match
        images.append((image, places))
    extended = max(matched, key=lambda name: matched[name])
    return LabelMap(xml, tuple(images), tuple(best.values()), extended, read.refused)


def _nothing_takes_boxes(read: LabelingConfig, vocabulary: Vocabulary, control: str | None) -> str:
    """Why a configuration takes no boxes, and the lines that would change it."""
    if control is not None and read.controls:
        names = ", ".join(sorted({one.name for one in read.controls}))
        return (
            f"the labeling configuration has no control {control!r} that takes boxes; those that "
            f"do are {names}"
        )
    named = f" named {control!r}" if control else ""
    message = (
        f"the labeling configuration has no <RectangleLabels> on an <Image>{named}, nor <Labels> "
        f"with a <Rectangle> (its controls: {'; '.join(read.refused) or 'none for boxes'}); "
    )
    whole = config_for(vocabulary)
    if not read.images:
        return f"{message}use for example\n{whole}"
    labels = etree.fromstring(whole).find("RectangleLabels")
    labels.set("toName", read.images[0].name)
    labels.set("name", next(n for n in _names() if n not in read.names))
    text: str = etree.tostring(labels, encoding="unicode", pretty_print=True, with_tail=False)
    return f"{message}add inside its <View>\n{text}"


def _names() -> Sequence[str]:
    return ["label", "boxes", "detected", *(f"boxes{i}" for i in range(2, 100))]


def labels_of_project(
    connection: Connection, project: int, vocabulary: Vocabulary
) -> dict[str, str]:
    """Class name → label of a project; classes without a label are left out."""
    found = connection.project(project)
    return read_config(found.get("label_config") or "", vocabulary).labels


def config_for(vocabulary: Vocabulary, target: Target = DEFAULT_TARGET) -> str:
    """A labeling configuration for a vocabulary: an image and one label a class."""
    view = etree.Element("View")
    etree.SubElement(view, "Image", name=target.to_name, value=f"${target.to_name}", zoom="true")
    labels = etree.SubElement(view, "RectangleLabels", name=target.from_name, toName=target.to_name)
    for concept in vocabulary.returned:
        etree.SubElement(labels, "Label", value=concept.name)
    text: str = etree.tostring(view, encoding="unicode", pretty_print=True)
    return text


def _match(concept: ConceptClass, control: Control) -> Match:
    """The label of one class: exact, then case, then aliases of either side."""
    label, how = _find(concept, control.labels)
    return Match(concept.name, label, how, control.name if label else "")


def _find(concept: ConceptClass, labels: Sequence[Label]) -> tuple[str | None, How]:
    if any(label.name == concept.name for label in labels):
        return concept.name, "exact"
    folded = {_fold(label.name): label.name for label in labels}
    if _fold(concept.name) in folded:
        return folded[_fold(concept.name)], "case"
    for label in labels:
        if _fold(label.value) == _fold(concept.name):
            return label.name, "alias"  # the label's key is its own alias
    for alias in concept.aliases:
        if _fold(alias) in folded:
            return folded[_fold(alias)], "alias"
    predicted = {_fold(word): label.name for label in reversed(labels) for word in label.predicted}
    for text in concept.words:
        if _fold(text) in predicted:
            return predicted[_fold(text)], "predicted_values"
    return None, "unmatched"


def _fold(text: str) -> str:
    return " ".join(re.sub(r"[_\-\s]+", " ", text).casefold().split())
