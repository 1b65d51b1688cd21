"""What a labeling configuration and a labeler's prompt ask of the live backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.labelstudio.config_map import ConfigError, read_config
from detclipv2.language.vocabulary import ConceptClass, Vocabulary


@dataclass(frozen=True)
class ConfigLabels:
    """The labels of a configuration that name boxes.

    Attributes:
        words: label → further words for it: its value where that is not its name, and its
            predicted_values.
        thresholds: of labels with a model_score_threshold of their own.
        threshold: model_score_threshold of the control, None without one.
    """

    words: dict[str, tuple[str, ...]]
    thresholds: dict[str, float]
    threshold: float | None

    @property
    def vocabulary(self) -> Vocabulary:
        """The labels as classes."""
        return Vocabulary(
            tuple(
                ConceptClass(name, aliases, self.thresholds.get(name))
                for name, aliases in self.words.items()
            )
        )


def read_labels(config: str) -> ConfigLabels:
    """The labels of a configuration's boxes.

    `model_score_threshold` is the attribute that Label Studio's own backends read.

    Raises:
        ConfigError: the configuration is no XML, or a threshold is no number in 0..1.
    """
    from lxml import etree

    try:
        root = etree.fromstring(config.encode())
    except etree.XMLSyntaxError as error:
        raise ConfigError(f"the labeling configuration cannot be read: {error}") from error
    # plain <Labels> name boxes where a <Rectangle> draws them
    tags = ("RectangleLabels", "Labels") if root.find(".//Rectangle") is not None else (
        "RectangleLabels",)  # fmt: skip
    words: dict[str, tuple[str, ...]] = {}
    own: dict[str, float] = {}
    whole: float | None = None
    taken: set[str] = set()
    for control in root.iter(*tags):
        whole = _number(control.get("model_score_threshold"), whole)
        for label in control.iter("Label"):
            name = label.get("alias") or label.get("value") or ""
            if not name.strip() or name.casefold() in taken:
                continue
            taken.add(name.casefold())
            further = [label.get("value") or "", *(label.get("predicted_values") or "").split(",")]
            others = []
            for word in (re.sub(r"\s+", " ", word).strip() for word in further):
                if word and word.casefold() not in taken:
                    taken.add(word.casefold())
                    others.append(word)
            words[name] = tuple(others)
            threshold = _number(label.get("model_score_threshold"), None)
            if threshold is not None:
                own[name] = threshold
    return ConfigLabels(words, own, whole)


def typed_prompt(context: Mapping[str, Any] | None) -> str:
    """The text of a <TextArea> that a labeler has just entered."""
    for region in (context or {}).get("result") or ():
        text = (region.get("value") or {}).get("text")
        if text:
            return "\n".join(text) if isinstance(text, list) else str(text)
    return ""


def prompted(text: str, config: str, labels: ConfigLabels) -> Vocabulary:
    """The classes that a labeler's text asks for; a single label stands for all of them.

    Raises:
        VocabularyError: the text cannot be used.
    """
    vocabulary = Vocabulary.parse(text)
    if len(labels.words) != 1 or read_config(config, vocabulary).labels:
        return vocabulary
    (label,) = labels.words
    words = tuple(word for concept in vocabulary.returned for word in concept.words)
    aliases = tuple(word for word in words if word.casefold() != label.casefold())
    return Vocabulary((ConceptClass(label, aliases),))


def _number(text: str | None, otherwise: float | None) -> float | None:
    if text is None:
        return otherwise
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"model_score_threshold={text!r} is no number in 0..1") from error
    if not 0 <= value <= 1:
        raise ConfigError(f"model_score_threshold={text!r} must lie in 0..1")
    return value
