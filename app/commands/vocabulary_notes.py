"""A vocabulary in words, for the one who wrote it: the command line's, once before the work."""

from __future__ import annotations

from collections.abc import Callable

from detclipv2.language.unknown_words import unknown_words
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.language.vocabulary_class import ConceptClass

_MOST = 40


def class_line(concept: ConceptClass) -> str:
    """A class with all that was said of it: "cup (or mug, tumbler) @0.35"."""
    line = f"not {concept.name}" if concept.negative else concept.name
    if concept.definition:
        line += f" = {concept.definition}"
    if concept.aliases:
        line += f" (or {', '.join(concept.aliases[:8])}{' …' if len(concept.aliases) > 8 else ''})"
    return line if concept.threshold is None else f"{line} @{concept.threshold:g}"


def print_vocabulary(vocabulary: Vocabulary, say: Callable[[str], None]) -> None:
    """Say the classes and the notes, each in a line."""
    shown = [class_line(concept) for concept in vocabulary.classes[:_MOST]]
    if (more := len(vocabulary.classes) - _MOST) > 0:
        shown.append(f"… and {more:,} more")
    count = len(vocabulary.returned)
    say(f"{count:,} class{'' if count == 1 else 'es'}: {' | '.join(shown)}")
    for note in (*vocabulary.notes, *unknown_words(vocabulary)):
        say(f"note: {note}")
