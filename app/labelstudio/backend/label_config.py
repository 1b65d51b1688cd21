"""What a labeling configuration and a labeler's prompt ask of the live backend."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.labelstudio.api.config_map import read_config
from app.labelstudio.api.labeling_config import LabelingConfig, read_labeling_config
from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError

MARK = "DetCLIPv2: "
"""What our own words in a prompt's <TextArea> begin with; labelers' words are what does not."""
RESET = "reset"
"""The prompt that makes the labels count again."""


@dataclass(frozen=True)
class ConfigLabels:
    """The labels of a configuration that name boxes.

    Attributes:
        words: label → further words for it: its value where that is not its name, and its
            predicted_values.
        thresholds: of labels with a model_score_threshold of their own.
        threshold: model_score_threshold of all controls, None without one.
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


@dataclass(frozen=True)
class Typed:
    """What a labeler has just entered as a prompt.

    Attributes:
        text: the words; empty for a text that was cleared.
        control: name of its <TextArea>.
        image: name of the image that it is for.
    """

    text: str
    control: str
    image: str

    @property
    def resets(self) -> bool:
        """Whether the labels are to count again."""
        return self.text.strip().casefold() in ("", RESET)

    def answer(self, message: str) -> dict[str, Any]:
        """A region that shows words of ours below the labeler's, in the same <TextArea>.

        It is all that Label Studio's page shows of an answer that is no box: not an error's text.
        """
        lines = [*([self.text] if self.text.strip() else []), MARK + message]
        ident = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]
        return {
            "id": ident,
            "from_name": self.control,
            "to_name": self.image,
            "type": "textarea",
            "value": {"text": lines},
        }


def read_labels(xml: str) -> ConfigLabels:
    """The labels of a configuration's boxes.

    `model_score_threshold` is the attribute that Label Studio's own backends read.

    Raises:
        ConfigError: the configuration is no XML, or a threshold is no number in 0..1.
    """
    controls = read_labeling_config(xml).controls
    own = {control.threshold for control in controls}
    (whole,) = own if len(own) == 1 else (None,)
    words: dict[str, tuple[str, ...]] = {}
    thresholds: dict[str, float] = {}
    taken: set[str] = set()
    for control in controls:
        for label in control.labels:
            if label.name.casefold() in taken:
                continue
            taken.add(label.name.casefold())
            others = []
            for word in (" ".join(label.value.split()), *label.predicted):
                if word and word.casefold() not in taken:
                    taken.add(word.casefold())
                    others.append(word)
            words[label.name] = tuple(others)
            threshold = label.threshold
            if threshold is None and whole is None:
                threshold = control.threshold
            if threshold is not None:
                thresholds[label.name] = threshold
    return ConfigLabels(words, thresholds, whole)


def typed_prompt(context: Sequence[Mapping[str, Any]] | None, read: LabelingConfig) -> Typed | None:
    """What a labeler entered in a <TextArea> that is marked for prompts; None for anything else.

    Notes, transcriptions and texts of single regions are none.
    """
    for region in context or ():
        place = region.get("from_name"), region.get("to_name")
        value = region.get("value")
        if place not in read.prompts or not isinstance(value, Mapping):
            continue
        text = value.get("text")
        lines = [
            line
            for line in (text if isinstance(text, list) else [text])
            if isinstance(line, str) and not line.startswith(MARK)
        ]
        return Typed("\n".join(lines), *map(str, place))
    return None


def prompted(text: str, xml: str, labels: ConfigLabels) -> Vocabulary:
    """The classes that a labeler's text asks for; a single label stands for all of them.

    Raises:
        VocabularyError: the text cannot be used, or no label takes any of its classes.
    """
    vocabulary = Vocabulary.parse(text)
    if read_config(xml, vocabulary).labels:
        return vocabulary
    if len(labels.words) != 1:
        names = ", ".join(list(labels.words)[:20]) + (" …" if len(labels.words) > 20 else "")
        asked = ", ".join(vocabulary.names[:5])
        raise VocabularyError(
            f"no label takes {asked}; the labels here are {names}. Nothing was changed; write "
            f"e.g. “{next(iter(labels.words), 'cat')}: {vocabulary.names[0]}”, or “{RESET}”"
        )
    (label,) = labels.words
    words = tuple(word for concept in vocabulary.returned for word in concept.words)
    aliases = tuple(word for word in words if word.casefold() != label.casefold())
    return Vocabulary((ConceptClass(label, aliases),))
