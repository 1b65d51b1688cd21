"""How much a list of prompts may hold; counted before any of it is read."""

from __future__ import annotations

from detclipv2.language.vocabulary_class import VocabularyError

MAX_TEXT = 1_000_000
"""Characters of a written list; the 13,204 classes of V3Det take 200,000."""
MAX_LINES = 50_000
MAX_CLASSES = 20_000
MAX_ALIASES = 200
"""Further words for one class."""
MAX_TEXTS = 60_000
"""Names and aliases together."""
MAX_DEPTH = 20
"""Of lists in lists in pasted data."""


def check_text(text: str, most: int = MAX_TEXT) -> None:
    """Refuse what is too long to be read.

    Raises:
        VocabularyError: with the limit.
    """
    if len(text) > most:
        raise VocabularyError(
            f"the list has {len(text):,} characters, at most {most:,} are read; split it"
        )
    lines = text.count("\n")
    if most == MAX_TEXT and lines > MAX_LINES:
        raise VocabularyError(
            f"the list has {lines:,} lines, at most {MAX_LINES:,} are read; split it"
        )


def check_counts(classes: int, texts: int) -> None:
    """Refuse more classes, or more texts in all, than a vocabulary may have.

    Raises:
        VocabularyError: with the limit.
    """
    if classes > MAX_CLASSES:
        raise VocabularyError(
            f"{classes:,} classes are too many, at most {MAX_CLASSES:,} are possible; split them"
        )
    if texts > MAX_TEXTS:
        raise VocabularyError(
            f"{texts:,} names and aliases are too many, at most {MAX_TEXTS:,} are possible; "
            "leave aliases out"
        )
