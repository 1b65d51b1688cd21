"""What the model may not know: words that no dictionary has, and words in other scripts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache, lru_cache
from unicodedata import combining, normalize
from unicodedata import name as sign_name

from detclipv2.language.concepts import load_concepts
from detclipv2.language.entries import brief
from detclipv2.language.sentence import prompt_text
from detclipv2.language.vocabulary import Vocabulary

_LETTER = re.compile(r"[^\W\d_]")
_MOST_LOOKED_UP = 2000
_MOST_TOLD = 12
_LIKENESS = 0.8
_MOST_COMPARED = 400
_SHORTEST = 4
"""Letters: of three every word has a neighbour."""


def unknown_words(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Notes on prompts whose thing is not in the concept dictionary; they hold nobody up.

    A thing with a definition needs no dictionary, and names of brands and persons are in none.
    """
    texts = [
        text for concept in vocabulary.classes if not concept.definition for text in concept.words
    ]
    notes: list[str] = []
    for note in _notes(texts[:_MOST_LOOKED_UP]):
        if len(notes) == _MOST_TOLD:
            return (*notes, "… and more words that the dictionary does not have")
        notes.append(note)
    return tuple(notes)


def _notes(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if script := _other_script(text):
            yield f"'{brief(text)}' has {script} letters; the model reads English"
        elif note := _note(prompt_text("{}", text)):
            yield note


@lru_cache(maxsize=4096)
def _note(text: str) -> str:
    dictionary = load_concepts()
    plain = " ".join(word for word in _without_accents(text).split() if _LETTER.search(word))
    spellings = (text, plain, plain.replace("-", " "), plain.replace("-", ""))
    if not plain or any(dictionary.find(spelling) for spelling in spellings):
        return ""
    word = dictionary.head(plain)
    near = _nearest(word)
    if near:
        meant = " or ".join(f"'{other}'" for other in near)
        return f"unknown word '{brief(word)}'; did you mean {meant}?"
    return f"'{brief(word)}' is not in the dictionary of things; the model may not know it"


def _without_accents(text: str) -> str:
    """As the tower reads it: "jalapeño" is "jalapeno"."""
    return "".join(sign for sign in normalize("NFD", text) if not combining(sign))


def _nearest(word: str) -> list[str]:
    """At most two names that are spelled nearly so, of a bounded number of them."""
    if not _SHORTEST <= len(word) <= 30:
        return []
    names = [
        name
        for length in (0, -1, 1, -2, 2)
        for name in _by_beginning().get((word[:1], len(word) + length), ())
    ]
    found = get_close_matches(word, names[:_MOST_COMPARED], n=2, cutoff=_LIKENESS)
    found = found or _by_letters().get("".join(sorted(word)), [])[:2]
    if not found:  # the first letter is the wrong one: "gat", "kcat"
        names = [name for n in (1, 2) for name in _by_rest().get(word[n:], ())][:_MOST_COMPARED]
        found = get_close_matches(word, names, n=2, cutoff=0.7)
    return found


@cache
def _by_beginning() -> dict[tuple[str, int], list[str]]:
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in load_concepts().names:
        groups[name[:1], len(name)].append(name)
    return dict(groups)


@cache
def _by_letters() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in load_concepts().names:
        groups["".join(sorted(name))].append(name)
    return dict(groups)


@cache
def _by_rest() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in load_concepts().names:
        groups[name[1:]].append(name)
    return dict(groups)


def _other_script(text: str) -> str:
    """The first script of letters that are not Latin ones: "Cyrillic"; empty without any."""
    for sign in text:
        if sign.isalpha() and sign > "ɏ":
            script = sign_name(sign, "foreign").split()[0]
            if script not in ("LATIN", "MODIFIER"):
                return "Chinese" if script == "CJK" else script.capitalize()
    return ""
