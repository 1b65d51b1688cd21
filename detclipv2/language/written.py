"""How people write a vocabulary, read and written back.

One prompt a line or several separated by commas:

    cup: mug, tumbler  @0.35     # aliases after a colon, the class's own threshold at the end
    a red mug, kettle @0.25      # without a colon, commas separate prompts
    !shadow                      # a negative: competes for boxes and is never returned
    "black, white and red flag"  # quotes keep words together; "" inside stands for a quote
    crane = tall machine for heavy loads: derrick   # a definition: the model reads "crane, tall …"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from detclipv2.language.concept_class import ConceptClass, VocabularyError
from detclipv2.language.phrases import split_last_item

_QUOTED = re.compile(r'(?<![^\s,:!])"((?:[^"]|"")*)"(?=[\s,:@]|$)')
_COMMENT = re.compile(r"(?<!\S)#.*")
_HIDDEN = re.compile(r"\x00(\d+)\x00")
_DECIMAL_COMMA = re.compile(r"@\s*(\d+),(\d+)\s*$")
_DEFINES = " = "
_NEEDS_QUOTES = re.compile(r'[,:@"#=]|^!|\.$|[^\S ]|  |\b(?:and|or)\b', re.IGNORECASE)


class WrittenLine:
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


def write(concept: ConceptClass) -> str:
    """One class in the written form; `WrittenLine` reads it back."""
    name, *aliases = map(_quoted, concept.words)
    line = ("!" if concept.negative else "") + name
    if concept.definition:
        line += _DEFINES + _quoted(concept.definition)
    if aliases:
        line += ": " + ", ".join(aliases)
    return line if concept.threshold is None else f"{line} @{concept.threshold!r}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
