"""The concept dictionary: 14,000 names of visible things, and how they hang together.

Training needs to know which names may mean the same box ("a brown dog", "puppy", "animal"); users
may want a name's definition. The table is made from WordNet by `train/data/dictionary/wordnet.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from detclipv2.assets import FOLDER

_TABLE = FOLDER / "concepts.tsv"
# What follows these words describes the thing, it does not name it.
_TAIL = re.compile(
    r"\s(?:of|in|on|with|at|by|from|for|to|near|under|over|behind|beside|that|who|which|"
    r"wearing|holding|standing|sitting)\s|[,;(]"
)
# "a group of people" names the people.
_QUANTITY = re.compile(
    r"\b(?:group|pair|bunch|couple|crowd|piece|slice|set|number|lot|lots|team|type|kind|row|pile|"
    r"stack|herd|flock|line)s? of (?=\S)"
)
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "knives": "knife",
    "leaves": "leaf",
    "shelves": "shelf",
    "wolves": "wolf",
    "loaves": "loaf",
    "scarves": "scarf",
    # Collectives are groups in WordNet; a box of them holds persons.
    "someone": "person",
    "crowd": "person",
    "couple": "person",
    "group": "person",
    "team": "person",
    "family": "person",
    "crew": "person",
    "human": "person",
}
_MOST_HEADS = 500_000
_WORD = re.compile(r"[^\w' .-]+")


@dataclass(frozen=True)
class Concept:
    """A row of the dictionary; `ancestors` are the synsets of its hypernyms, nearest first."""

    name: str
    synset: str
    ancestors: tuple[str, ...]
    definition: str


class ConceptDictionary:
    """Look-up by name or phrase; the heads of phrases are remembered."""

    def __init__(self, concepts: list[Concept]) -> None:
        self._by_name = {concept.name: concept for concept in concepts}
        self._longest = max((len(name.split()) for name in self._by_name), default=0)
        self._heads: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def names(self) -> list[str]:
        """All names in the table's order."""
        return list(self._by_name)

    def find(self, text: str) -> Concept | None:
        """The concept of a name or of a phrase's head noun, or None."""
        return self._by_name.get(self.head(text))

    def synonyms(self, name: str) -> set[str]:
        """The name itself and all names of its synset."""
        concept = self._by_name.get(name)
        same = (c.name for c in self._by_name.values() if concept and c.synset == concept.synset)
        return {name, *same}

    def head(self, phrase: str) -> str:
        """The thing a noun phrase names: "two brown dogs in the snow" → "dog".

        The longest known ending wins ("a red fire hydrant" → "fire hydrant" where that is known);
        of unknown phrases the last word.
        """
        if phrase not in self._heads:
            if len(self._heads) >= _MOST_HEADS:  # a server is asked about words without end
                self._heads.clear()
            self._heads[phrase] = self._find_head(phrase)
        return self._heads[phrase]

    def _find_head(self, phrase: str) -> str:
        text = _WORD.sub(" ", phrase.lower()) if "," not in phrase else phrase.lower()
        text = _QUANTITY.sub("", text)
        words = _TAIL.split(f"{text} ", maxsplit=1)[0].split()
        if not words:
            return phrase.lower().strip()
        for start in range(max(0, len(words) - self._longest), len(words)):
            for ending in readings(words[start:]):
                if ending in self._by_name:
                    return ending
        return readings(words[-1:])[-1]

    def related(self, texts: Sequence[str], rows: Sequence[int] | None = None) -> NDArray[np.bool_]:
        """Which of K texts may name one box: equal heads, synonyms, one a hypernym of the other.

        Args:
            texts: K of them.
            rows: R indices; only theirs are wanted. All of them by default.

        Returns:
            (R, K).
        """
        keys = []
        above: list[tuple[str, ...]] = []
        for text in texts:
            head = self.head(text)
            concept = self._by_name.get(head)
            keys.append(concept.synset if concept else head)
            above.append(concept.ancestors if concept else ())
        holders: dict[str, list[int]] = {}
        below: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            holders.setdefault(key, []).append(index)
            for name in above[index]:
                below.setdefault(name, []).append(index)
        wanted = range(len(keys)) if rows is None else rows
        matrix = np.zeros((len(wanted), len(keys)), dtype=bool)
        for row, index in enumerate(wanted):
            for name in (keys[index], *above[index]):
                matrix[row, holders.get(name, [])] = True
            matrix[row, below.get(keys[index], [])] = True
        return matrix


def readings(words: Sequence[str]) -> list[str]:
    """A phrase as it stands, then with its last word in the singular; likeliest first."""
    *front, last = words
    forms = [_IRREGULAR[last]] if last in _IRREGULAR else [last]
    if last.endswith("ies") and len(last) > 4:
        forms.append(last[:-3] + "y")
    if last.endswith("s") and not last.endswith("ss") and len(last) > 3:
        forms.append(last[:-1])
    if last.endswith(("ses", "xes", "zes", "ches", "shes")):
        forms.append(last[:-2])
    return [" ".join([*front, form]) for form in forms]


@cache
def load_concepts() -> ConceptDictionary:
    """The dictionary that ships with the package."""
    rows = _TABLE.read_text(encoding="utf-8").splitlines()[1:]
    concepts = []
    for row in rows:
        name, synset, ancestors, definition = row.split("\t")
        concepts.append(Concept(name, synset, tuple(ancestors.split()), definition))
    return ConceptDictionary(concepts)
