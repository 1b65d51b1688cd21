"""Prompts as one model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from detclipv2.language.tower_words import as_the_tower_reads
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from detclipv2.model import DetCLIPv2

Prompts = str | Sequence[str] | Vocabulary
"""A written vocabulary, a list of names, or one that was read before."""
_KEPT = 32


class PromptReader:
    """Reads prompts for `model`; what was read last is kept."""

    def __init__(self, model: DetCLIPv2) -> None:
        self._model = model
        self._read = lru_cache(maxsize=_KEPT)(self._read_by_tower)

    def vocabulary(self, prompts: Prompts) -> Vocabulary:
        """See `Predictor.vocabulary`."""
        by_place = not isinstance(prompts, str | Vocabulary)
        return self._read(read := Vocabulary.coerce(prompts), read.notes, not by_place)

    def _read_by_tower(
        self, vocabulary: Vocabulary, _notes: tuple[str, ...], merge: bool
    ) -> Vocabulary:
        """Kept by the notes as well: vocabularies are equal without them."""
        text, read = self._model.config.text, self._model.text_encoder.read
        return as_the_tower_reads(vocabulary, text.template, text.max_tokens, read, merge=merge)
