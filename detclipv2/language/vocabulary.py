"""Vocabulary: what to look for, in the user's own words.

`written` has its written form, `prompt_lists` what else people write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from detclipv2.language.limits import check_counts
from detclipv2.language.prompt_lists import Form, read
from detclipv2.language.sentence import reads_as
from detclipv2.language.vocabulary_class import MAX_CHARACTERS, ConceptClass, VocabularyError
from detclipv2.language.vocabulary_syntax import read_written, write, write_for_hash

__all__ = ["MAX_CHARACTERS", "ConceptClass", "Vocabulary", "VocabularyError"]


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of classes, at least one of them not negative, no text twice.

    Attributes:
        classes: in the user's order.
        notes: what was read how, merged or left out, for the user to see; one sentence each.
    """

    classes: tuple[ConceptClass, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_counts(len(self.classes), sum(len(concept.words) for concept in self.classes))
        _reject_repeats(self.classes, lambda text: " ".join(text.casefold().split()))
        if not self.returned:
            raise VocabularyError(
                f"only negatives ({', '.join(map(repr, self.negatives[:20]))}), so nothing could "
                "be found; add a prompt without '!'"
                if self.classes
                else "the vocabulary is empty; write at least one prompt, e.g. 'a red mug, kettle'"
            )

    @classmethod
    def parse(cls, text: str, form: Form | None = None) -> Vocabulary:
        """Read a list of prompts however people write or paste one, see docs/prompts.md.

        Args:
            text: the list.
            form: what it must be, for a file whose name says so; None finds out.

        Raises:
            VocabularyError: with the line number, the value and the fix.
        """
        return _parse(text, form)

    @classmethod
    def deserialise(cls, text: str) -> Vocabulary:
        """What `serialise` wrote, in this version or an earlier one; nothing else is read into it.

        Raises:
            VocabularyError: it is something else.
        """
        lines = text.splitlines()
        return cls(tuple(concept for line in lines for concept in read_written(line)))

    @classmethod
    def of(cls, names: Iterable[str]) -> Vocabulary:
        """One class a name, the names taken literally: nothing in them is syntax."""
        return _of(tuple(names))

    @classmethod
    def coerce(cls, prompts: str | Sequence[str] | Vocabulary) -> Vocabulary:
        """What users hand over: a written vocabulary, a list of names, or a `Vocabulary`."""
        if isinstance(prompts, Vocabulary):
            return prompts
        if isinstance(prompts, str):
            return cls.parse(prompts)
        if isinstance(prompts, bytes) or not isinstance(prompts, Iterable):
            raise VocabularyError(
                f"prompts must be text, a list of names or a Vocabulary, got {prompts!r}"
            )
        return cls.of(prompts)

    @cached_property
    def returned(self) -> tuple[ConceptClass, ...]:
        """The classes a detection's `class_id` indexes."""
        return tuple(concept for concept in self.classes if not concept.negative)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the returned classes, in the user's order."""
        return tuple(concept.name for concept in self.returned)

    @property
    def negatives(self) -> tuple[str, ...]:
        """Names of the classes that only compete."""
        return tuple(concept.name for concept in self.classes if concept.negative)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All texts to encode: those of the returned classes first, then those of the negatives."""
        return tuple(text for concept in self._ordered for text in concept.texts)

    @cached_property
    def text_counts(self) -> tuple[int, ...]:
        """How many of `texts` belong to each class: the returned ones, then the negatives."""
        return tuple(1 + len(concept.aliases) for concept in self._ordered)

    @cached_property
    def thresholds(self) -> dict[int, float]:
        """The thresholds of those returned classes that have one of their own, by index."""
        own = ((index, concept.threshold) for index, concept in enumerate(self.returned))
        return {index: threshold for index, threshold in own if threshold is not None}

    def without_thresholds(self) -> Vocabulary:
        """The same words, no class with a threshold of its own.

        Vocabularies that differ in thresholds only have the same candidates, so one `hash` here.
        """
        return self._bare

    @cached_property
    def _bare(self) -> Vocabulary:
        return Vocabulary(tuple(replace(concept, threshold=None) for concept in self.classes))

    @property
    def _ordered(self) -> tuple[ConceptClass, ...]:
        return (*self.returned, *(concept for concept in self.classes if concept.negative))

    def serialise(self) -> str:
        """The written form, one class a line; `parse` and `deserialise` give the same back."""
        return "\n".join(map(write, self.classes))

    @cached_property
    def hash(self) -> str:
        """12 hex digits that stay the same over processes and releases; the order counts."""
        written = "\n".join(map(write_for_hash, self.classes))
        return hashlib.sha256(written.encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def _parse(text: str, form: Form | None) -> Vocabulary:
    """Cached: the page reads the same text again at every move of a slider."""
    reading = read(text, form)
    if not reading.classes and reading.notes:
        raise VocabularyError(f"no classes are left: {'; '.join(reading.notes[:3])}")
    return Vocabulary(reading.classes, reading.notes)


@lru_cache(maxsize=32)
def _of(names: tuple[str, ...]) -> Vocabulary:
    """Cached: callers hand the same 1,203 names with every picture."""
    classes = tuple(ConceptClass(" ".join(_text(name).split())) for name in names)
    _reject_repeats(classes, reads_as)
    return Vocabulary(classes)


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise VocabularyError(f"a prompt must be text, got {name!r}")
    return name


def _reject_repeats(classes: Iterable[ConceptClass], key_of: Callable[[str], str]) -> None:
    """A text twice would make two boxes of every box of it."""
    seen: dict[str, str] = {}
    for concept in classes:
        for text in concept.words:
            key = key_of(text)
            if key in seen:
                known = seen[key]
                raise VocabularyError(
                    f"{text!r} repeats {known!r}: the model reads both alike; remove one of them"
                )
            seen[key] = text
