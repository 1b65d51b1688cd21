"""The noun phrases of captions as concepts: extracted with spaCy once, kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from detclipv2.language.phrases import Phrase, noun_phrases_of
from detclipv2.language.sentence import prompt_text
from train.data.sample import Sample, pair

MOST_PHRASES = 12
"""Noun phrases of one caption that become concepts; a caption of 20 words has about 6."""


def caption_concepts(
    captions: Iterable[str], most: int = MOST_PHRASES
) -> Iterator[tuple[str, ...]]:
    """For each caption its noun phrases in reading order: lower case, no article, each once."""
    for phrases in noun_phrases_of(captions):
        yield _concepts(phrases)[:most]


def _concepts(phrases: Sequence[Phrase]) -> tuple[str, ...]:
    texts = (prompt_text("{}", phrase.text.strip(" \t.,;:!?\"'`-–")) for phrase in phrases)
    return tuple(dict.fromkeys(t for t in texts if any(c.isalpha() for c in t)))


def kept_caption_concepts(
    captions: Sequence[str], file: Path, most: int = MOST_PHRASES
) -> list[tuple[str, ...]]:
    """`caption_concepts`, looked up in `file` and extracted only where that does not have them.

    A file that cannot be read is made anew. Another `most` than the file's makes it anew too.
    """
    known = _read(file, most)
    missing = sorted({c for c in captions if c not in known})
    if missing:
        found = caption_concepts(missing, most)
        shown = tqdm(found, "noun phrases", len(missing), unit="caption", mininterval=5)
        known.update(zip(missing, shown, strict=True))
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps({"most": most, "phrases": known}), encoding="utf-8")
        partial.replace(file)
    return [known[caption] for caption in captions]


def _read(file: Path, most: int) -> dict[str, tuple[str, ...]]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["most"] != most:
            return {}
        return {caption: tuple(phrases) for caption, phrases in kept["phrases"].items()}
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def with_concepts(sample: Sample, concepts: Sequence[str]) -> Sample:
    """A pair with other concepts."""
    bare = pair(sample.image, concepts)
    return replace(sample, concepts=bare.concepts, labels=bare.labels)
