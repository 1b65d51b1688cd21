"""One line of the written form, read and written back.

    cup: mug, tumbler  @0.35     # aliases after a colon, the class's own threshold at the end
    a red mug, kettle @0.25      # without a colon, commas separate prompts
    !shadow                      # a negative: competes for boxes and is never returned
    "black, white and red flag"  # quotes keep words together; "" inside stands for a quote
    crane = tall machine for heavy loads: derrick   # a definition: the model reads "crane, tall …"

How people write lists otherwise is `prompt_lists`' matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from detclipv2.language.phrases import split_last_item
from detclipv2.language.quoted import Quoted
from detclipv2.language.sentence import reads_as
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

_DECIMAL_COMMA = re.compile(r"@\s*(\d+),(\d+)\s*$")
_NUMBER = re.compile(r"\d*[.,]\d+|\d+\s*%")
_DEFINES = " = "
# Whatever else a list may be written with, and the words that such lists begin or end with.
_PLAIN = re.compile(r"[^\W\d_][\w\u0300-\u036f]*(?:['’-]\w+)*(?: \w+(?:['’-]\w+)*)*")
_SYNTAX_WORDS = re.compile(
    r"\b(?:and|or)\b|^etc$|^n\d{8}\b|\b(?:names?|class|classes|classlist|labels?|category|categories|"
    r"prompts?|objects?|tools|shapes|nc|list|find|detect|look for|id2label|label2id|class_names|"
    r"thing_classes)$",
    re.IGNORECASE,
)
_QUOTED_ALWAYS = re.compile(r'[,:@"#=]|^!|\.$|[^\S ]|  |\b(?:and|or)\b', re.IGNORECASE)


class WrittenLine:
    """One line; quoted words in it have stepped aside."""

    def __init__(self, text: str, quoted: Quoted) -> None:
        self._quoted = quoted
        self._text = text.strip()

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
                found.append(ConceptClass(self._quoted.show(prompt), (), threshold, negative))
        return found

    def _class_with_aliases(self, head: str, tail: str) -> ConceptClass:
        written = self._quoted.written
        if not head.strip() or not tail.strip() or ":" in tail:
            raise VocabularyError(
                f"{written(self._text)!r}: write a class and its aliases as "
                "'cup: mug, tumbler', one class a line, with quotes round words that hold a colon"
            )
        if "," in head:
            raise VocabularyError(
                f"{written(self._text)!r}: a class with aliases needs a line of its own; "
                "write the classes before it on other lines"
            )
        if "@" in head:
            raise VocabularyError(f"{written(head)!r}: the threshold goes behind the last alias")
        if _NUMBER.fullmatch(tail.strip()):
            raise VocabularyError(
                f"{written(self._text)!r}: write a threshold as '{written(head)} @0.35', and put "
                "quotes round a number that is another word for it"
            )
        body, _, negative = self._marks(head)
        aliases, threshold, _ = self._marks(tail)
        name, definition = self._named(body)
        items = self._items(aliases)
        texts = [self._quoted.show(text) for item, words in items for text in words(item)]
        # "cup: cup, mug" is a common way to write it.
        others = tuple(text for text in texts if reads_as(text) != reads_as(name))
        return ConceptClass(name, others, threshold, negative, definition)

    def _named(self, body: str) -> tuple[str, str]:
        """A name and, behind " = ", its definition."""
        name, equals, definition = body.partition(_DEFINES)
        if f" {body.strip()} ".startswith(_DEFINES) or f" {body.strip()} ".endswith(_DEFINES):
            raise VocabularyError(
                f"{self._quoted.written(body)!r}: write a definition as 'mug = with handle', or "
                "put quotes round words that hold ' = '"
            )
        shown = self._quoted.show(name.strip())
        return shown, self._quoted.show(definition.strip()) if equals else ""

    def _items(self, text: str) -> Iterator[tuple[str, Callable[[str], list[str]]]]:
        """The comma-separated items, each with how its words make prompts; empty ones fall out."""
        items = [item for item in (piece.strip() for piece in text.split(",")) if item]
        if not items:
            return
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
            raise VocabularyError(
                f"{self._quoted.written(item)!r} has no words; write a prompt, e.g. 'kettle @0.25'"
            )
        threshold = None
        if at:
            try:
                threshold = float(value)
            except ValueError:
                raise VocabularyError(
                    f"the threshold {'@' + self._quoted.written(value)!r} of "
                    f"{self._quoted.written(body)!r} is not a number; write e.g. @0.35 at the end "
                    "of the entry, or put quotes round words with an @"
                ) from None
        return body.strip(), threshold, item.startswith("!")


def read_written(line: str) -> list[ConceptClass]:
    """The classes of a line as `write` makes it; nothing but the written form is read here."""
    quoted = Quoted()
    return WrittenLine(quoted.hide_quotes(line, also=False), quoted).classes()


def write(concept: ConceptClass) -> str:
    """One class in the written form; `read_written` and `Vocabulary.parse` read it back."""
    return _write(concept, _needs_quotes)


def write_for_hash(concept: ConceptClass) -> str:
    """The written form that hashes are made of; it never changes."""
    return _write(concept, lambda text: bool(_QUOTED_ALWAYS.search(text)))


def _needs_quotes(text: str) -> bool:
    return not _PLAIN.fullmatch(text) or bool(_SYNTAX_WORDS.search(text))


def _write(concept: ConceptClass, needs_quotes: Callable[[str], bool]) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if needs_quotes(text) else text

    name, *aliases = map(quoted, concept.words)
    line = ("!" if concept.negative else "") + name
    if concept.definition:
        line += _DEFINES + quoted(concept.definition)
    if aliases:
        line += ": " + ", ".join(aliases)
    return line if concept.threshold is None else f"{line} @{concept.threshold!r}"
