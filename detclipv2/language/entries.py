"""What a reader finds: classes with their places, notes, and one class of what says the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from detclipv2.language.limits import MAX_ALIASES
from detclipv2.language.sentence import reads_as, same_words
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

_MOST_NOTES = 40


@dataclass(frozen=True)
class Entry:
    """A class, and the line it stands in; None where there are no lines."""

    concept: ConceptClass
    line: int | None = None

    @property
    def place(self) -> str:
        """What an error begins with."""
        return "" if self.line is None else f"line {self.line}: "


class Notes:
    """Sentences for the user, each once and not without end."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}
        self._more = 0

    def add(self, note: str) -> None:
        """Say it, unless it has been said."""
        if note in self._said:
            return
        if len(self._said) < _MOST_NOTES:
            self._said[note] = None
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        """All of them, in order."""
        more = (f"… and {self._more:,} more notes",) if self._more else ()
        return (*self._said, *more)


def brief(text: str, most: int = 60) -> str:
    """The text, or its beginning and end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def listed(words: Iterable[str], most: int = 5) -> str:
    """Words in quotes for a note, as 'cat', 'dog'."""
    shown = list(words)
    return ", ".join(f"'{brief(word)}'" for word in shown[:most]) + (" …" if shown[most:] else "")


def merge(entries: Iterable[Entry], notes: Notes) -> list[ConceptClass]:
    """One class of those whose names say the same, and no alias twice.

    Raises:
        VocabularyError: they contradict each other.
    """
    names: dict[str, Entry] = {}
    others: dict[str, dict[str, None]] = {}
    for entry in entries:
        key = same_words(entry.concept.name)
        known = names.get(key)
        names[key] = entry if known is None else _one_of(known, entry, notes)
        others.setdefault(key, {}).update(dict.fromkeys(entry.concept.aliases))
    taken = dict.fromkeys(names, "")
    merged = []
    for key, entry in names.items():
        concept = entry.concept
        if len(others[key]) > MAX_ALIASES:
            raise VocabularyError(
                f"{entry.place}{concept.name!r} has {len(others[key]):,} aliases, at most "
                f"{MAX_ALIASES} are possible"
            )
        aliases = []
        for alias in others[key]:
            word = same_words(alias)
            if word not in taken:
                aliases.append(alias)
                taken[word] = concept.name
            elif word != key and taken[word] != concept.name:
                other = taken[word] or alias
                notes.add(f"'{alias}' of '{concept.name}' stands for '{other}' already: left out")
        merged.append(replace(concept, aliases=tuple(aliases)))
    return merged


def _one_of(first: Entry, second: Entry, notes: Notes) -> Entry:
    """The first of two classes that say the same, with the marks that only the second has."""
    one, two = first.concept, second.concept
    where = "" if first.line is None else f" of line {first.line}"
    if one.negative != two.negative or (
        one.definition and two.definition and one.definition != two.definition
    ):
        raise VocabularyError(
            f"{second.place}{two.name!r} repeats {one.name!r}{where} and means something else; "
            "remove one of them"
        )
    if one.name == two.name:
        said = f"'{one.name}' is there more than once: one class"
    elif reads_as(one.name) == reads_as(two.name):
        said = f"the model reads '{two.name}' as it reads '{one.name}': one class, '{one.name}'"
    else:
        said = f"'{two.name}' says what '{one.name}' says: one class, '{one.name}'"
    if None not in (one.threshold, two.threshold) and one.threshold != two.threshold:
        said += f", with the threshold @{one.threshold:g}"
    notes.add(said)
    merged = replace(
        one,
        definition=one.definition or two.definition,
        threshold=two.threshold if one.threshold is None else one.threshold,
    )
    return Entry(merged, first.line)
