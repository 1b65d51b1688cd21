"""Vocabulary: what to look for, in the user's own words; `written` has its written form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from detclipv2.language.concept_class import MAX_CHARACTERS, ConceptClass, VocabularyError
from detclipv2.language.written import WrittenLine, write

__all__ = ["MAX_CHARACTERS", "ConceptClass", "Vocabulary", "VocabularyError"]


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of classes, at least one of them not negative, no text twice."""

    classes: tuple[ConceptClass, ...]

    def __post_init__(self) -> None:
        _reject_repeats((concept, None) for concept in self.classes)
        if not self.returned:
            raise VocabularyError(
                f"only negatives ({', '.join(map(repr, self.negatives))}), so nothing could be "
                "found; add a prompt without '!'"
                if self.classes
                else "the vocabulary is empty; write at least one prompt, e.g. 'a red mug, kettle'"
            )

    @classmethod
    def parse(cls, text: str) -> Vocabulary:
        """Read the written form (see `written`).

        Raises:
            VocabularyError: with the line number, the value and the fix.
        """
        entries: list[tuple[ConceptClass, int | None]] = []
        for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
            try:
                entries += [(concept, number) for concept in WrittenLine(line).classes()]
            except VocabularyError as error:
                raise VocabularyError(f"line {number}: {error}") from error
        _reject_repeats(entries)
        return cls(tuple(concept for concept, _ in entries))

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
        return Vocabulary(tuple(replace(concept, threshold=None) for concept in self.classes))

    @property
    def _ordered(self) -> tuple[ConceptClass, ...]:
        return (*self.returned, *(concept for concept in self.classes if concept.negative))

    def serialise(self) -> str:
        """The written form, one class a line; `parse` gives the same vocabulary back."""
        return "\n".join(map(write, self.classes))

    @cached_property
    def hash(self) -> str:
        """12 hex digits that stay the same over processes and releases; the order counts."""
        return hashlib.sha256(self.serialise().encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def _of(names: tuple[str, ...]) -> Vocabulary:
    """Cached: callers hand the same 1,203 names with every picture."""
    return Vocabulary(tuple(ConceptClass(" ".join(_text(name).split())) for name in names))


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise VocabularyError(f"a prompt must be text, got {name!r}")
    return name


def _reject_repeats(entries: Iterable[tuple[ConceptClass, int | None]]) -> None:
    """A text twice, in whatever case, would make two boxes of every box of it."""
    seen: dict[str, tuple[str, int | None]] = {}
    for concept, line in entries:
        for text in concept.words:
            key = " ".join(text.casefold().split())
            if key in seen:
                known, known_line = seen[key]
                here = "" if line is None else f"line {line}: "
                there = "" if known_line is None else f" of line {known_line}"
                raise VocabularyError(
                    f"{here}{text!r} repeats {known!r}{there}; remove one of them"
                )
            seen[key] = (text, line)
