"""One class of a vocabulary, and what makes a prompt unusable."""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import category

MAX_CHARACTERS = 200
"""Longest prompt or alias; the text towers read 16 to 32 tokens, so more would be cut silently."""


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
