"""Vocabulary: what to look for, in the user's own words.

The written form, one prompt a line or several separated by commas:

    cup: mug, tumbler  @0.35     # aliases after a colon, the class's own threshold at the end
    a red mug, kettle @0.25      # without a colon, commas separate prompts
    !shadow                      # a negative: competes for boxes and is never returned
    "black, white and red flag"  # quotes keep words together; "" inside stands for a quote
    crane = tall machine for heavy loads: derrick   # a definition: the model reads "crane, tall …"
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from unicodedata import category

from detclipv2.language.phrases import split_last_item

MAX_CHARACTERS = 200
"""Longest prompt or alias; the text towers read 16 to 32 tokens, so more would be cut silently."""

_QUOTED = re.compile(r'(?<![^\s,:!])"((?:[^"]|"")*)"(?=[\s,:@]|$)')
_COMMENT = re.compile(r"(?<!\S)#.*")
_HIDDEN = re.compile(r"\x00(\d+)\x00")
_DECIMAL_COMMA = re.compile(r"@\s*(\d+),(\d+)\s*$")
_DEFINES = " = "
_NEEDS_QUOTES = re.compile(r'[,:@"#=]|^!|\.$|[^\S ]|  |\b(?:and|or)\b', re.IGNORECASE)


class VocabularyError(ValueError):
    """A vocabulary that cannot be used; the message names the value and the fix."""


@dataclass(frozen=True)
class ConceptClass:
    """One class of a vocabulary.

    Attributes:
        name: the user's own words, handed back with every box.
        aliases: further words for the same class; its score is the best over all of them.
        threshold: the class's own score threshold in 0..1, or None for the caller's.
        negative: whether the class only competes for boxes and is never returned.
        definition: what the name means, read by the model behind it; empty for the name alone.
    """

    name: str
    aliases: tuple[str, ...] = ()
    threshold: float | None = None
    negative: bool = False
    definition: str = ""

    def __post_init__(self) -> None:
        for text in (self.name, *self.aliases, *((self.definition,) if self.definition else ())):
            if not isinstance(text, str):
                raise VocabularyError(f"a prompt must be text, got {text!r}")
            if not text.strip():
                raise VocabularyError(f"a prompt is empty ({text!r}); remove it or write a word")
            if len(text) > MAX_CHARACTERS:
                raise VocabularyError(
                    f"the prompt {text[:40]!r}… has {len(text)} characters, at most "
                    f"{MAX_CHARACTERS} are possible; shorten it or separate prompts with commas"
                )
            if text != text.strip() or any(category(c) in ("Cc", "Zl", "Zp") for c in text):
                raise VocabularyError(
                    f"the prompt {text!r} has spaces at its ends, line breaks or control "
                    "characters; remove them"
                )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise VocabularyError(
                f"the threshold {self.threshold} of {self.name!r} must lie in 0..1, e.g. @0.35"
            )
        if self.negative and self.threshold is not None:
            raise VocabularyError(
                f"the negative {self.name!r} has a threshold, but negatives are never returned; "
                f"remove @{self.threshold}"
            )

    @property
    def words(self) -> tuple[str, ...]:
        """The name and its aliases."""
        return (self.name, *self.aliases)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the model reads: the name, with its definition if there is one, and the aliases."""
        name = f"{self.name}, {self.definition}" if self.definition else self.name
        return (name, *self.aliases)


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
        """Read the written form (see the module).

        Raises:
            VocabularyError: with the line number, the value and the fix.
        """
        entries: list[tuple[ConceptClass, int | None]] = []
        for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
            try:
                entries += [(concept, number) for concept in _Line(line).classes()]
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
        return "\n".join(map(_write, self.classes))

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


class _Line:
    """One line of the written form.

    Quoted words step aside as numbered marks while commas, colons and "@" are read.
    """

    def __init__(self, written: str) -> None:
        if "\x00" in written:
            raise VocabularyError("the text holds NUL characters; save it as UTF-8")
        self._quoted: list[str] = []
        self._text = _COMMENT.sub("", _QUOTED.sub(self._hide, written)).strip()

    def classes(self) -> list[ConceptClass]:
        """One class with its aliases, or one a prompt, or none for a blank line."""
        if not self._text:
            return []
        if comma := _DECIMAL_COMMA.search(self._text):
            raise VocabularyError(
                f"the threshold {comma[0]!r} has a decimal comma; write @{comma[1]}.{comma[2]}"
            )
        head, colon, tail = self._text.partition(":")
        if colon:
            return [self._class_with_aliases(head, tail)]
        found = []
        for item, words in self._items(self._text):
            body, threshold, negative = self._marks(item)
            if _DEFINES in f" {body} ":
                name, definition = self._named(body)
                found.append(ConceptClass(name, (), threshold, negative, definition))
                continue
            # "cup and mug @0.4": what is marked is every prompt of the item.
            for prompt in words(body):
                found.append(ConceptClass(self._show(prompt), (), threshold, negative))
        return found

    def _class_with_aliases(self, head: str, tail: str) -> ConceptClass:
        if not head.strip() or not tail.strip() or ":" in tail:
            raise VocabularyError(
                f"{self._written(self._text)!r}: write a class and its aliases as "
                "'cup: mug, tumbler', one class a line, with quotes round words that hold a colon"
            )
        if "," in head:
            raise VocabularyError(
                f"{self._written(self._text)!r}: a class with aliases needs a line of its own; "
                "write the classes before it on other lines"
            )
        if "@" in head:
            raise VocabularyError(
                f"{self._written(head)!r}: the threshold goes behind the last alias"
            )
        body, _, negative = self._marks(head)
        aliases, threshold, _ = self._marks(tail)
        name, definition = self._named(body)
        texts = [self._show(text) for item, words in self._items(aliases) for text in words(item)]
        # "cup: cup, mug" is a common way to write it.
        others = tuple(text for text in texts if text.casefold() != name.casefold())
        return ConceptClass(name, others, threshold, negative, definition)

    def _named(self, body: str) -> tuple[str, str]:
        """A name and, behind " = ", its definition."""
        name, equals, definition = body.partition(_DEFINES)
        if f" {body.strip()} ".startswith(_DEFINES) or f" {body.strip()} ".endswith(_DEFINES):
            raise VocabularyError(
                f"{self._written(body)!r}: write a definition as 'mug = with handle', or put "
                "quotes round words that hold ' = '"
            )
        return self._show(name), self._show(definition) if equals else ""

    def _items(self, text: str) -> Iterator[tuple[str, Callable[[str], list[str]]]]:
        """The comma-separated items, each with how its words make prompts."""
        items = [item.strip() for item in text.strip().removesuffix(",").split(",")]
        if not all(items):
            raise VocabularyError(
                f"{self._written(text)!r} has an empty entry; remove the comma too many"
            )
        yield from ((item, lambda words: [words]) for item in items[:-1])
        last = items[-1]
        if last.count(".") == 1:  # the full stop of a sentence
            last = last.removesuffix(".") or last
        yield last, partial(split_last_item, in_list=len(items) > 1)

    def _marks(self, item: str) -> tuple[str, float | None, bool]:
        """An item's words, the threshold at its end, and whether "!" makes it a negative."""
        item = item.strip()
        body, at, value = item.removeprefix("!").partition("@")
        if not body.strip():
            raise VocabularyError(f"{item!r} has no words; write a prompt, e.g. 'kettle @0.25'")
        threshold = None
        if at:
            try:
                threshold = float(value)
            except ValueError:
                raise VocabularyError(
                    f"the threshold {'@' + self._written(value)!r} of {self._written(body)!r} is "
                    "not a number; write e.g. @0.35 at the end of the entry, or put quotes round "
                    "words with an @"
                ) from None
        return body.strip(), threshold, item.startswith("!")

    def _hide(self, match: re.Match[str]) -> str:
        self._quoted.append(match[1])
        return f"\x00{len(self._quoted) - 1}\x00"

    def _show(self, words: str) -> str:
        """The user's own words: quotes opened, runs of spaces outside them joined."""
        if hidden := _HIDDEN.fullmatch(words):
            return self._quoted[int(hidden[1])].replace('""', '"').strip()
        if "\x00" in words or words.startswith('"'):
            raise VocabularyError(f"{self._written(words)!r}: quotes must enclose the whole prompt")
        return " ".join(words.split())

    def _written(self, words: str) -> str:
        """For messages: with the quotes back in place."""
        return _HIDDEN.sub(lambda match: f'"{self._quoted[int(match[1])]}"', words.strip())


def _write(concept: ConceptClass) -> str:
    """One class in the written form; `_Line` reads it back."""
    name, *aliases = map(_quoted, concept.words)
    line = ("!" if concept.negative else "") + name
    if concept.definition:
        line += _DEFINES + _quoted(concept.definition)
    if aliases:
        line += ": " + ", ".join(aliases)
    return line if concept.threshold is None else f"{line} @{concept.threshold!r}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
