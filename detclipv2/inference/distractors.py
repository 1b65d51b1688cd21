"""Phrases whose things are hardly ever there: what a phrase that is absent from a photo scores."""

from __future__ import annotations

from collections.abc import Sequence

DISTRACTORS = (
    "a zebra",
    "a submarine",
    "a harp",
    "an igloo",
    "a cactus",
    "a microscope",
    "a lighthouse",
    "a jellyfish",
    "a typewriter",
    "a tractor",
    "a chandelier",
    "a pineapple",
    "a volcano",
    "a penguin",
    "a windmill",
    "a keyboard",
    "an anchor",
    "a toaster",
    "a cathedral",
    "a giraffe",
    "a slot machine",
    "a tank",
    "a corkscrew",
    "a mosquito",
    "a refrigerator",
    "a trombone",
    "an aquarium",
    "a satellite",
    "a wedding cake",
    "a chess board",
    "a totem pole",
    "a crane",
)
"""Phrases whose things are rare in photos and far apart in meaning."""


def distractors_for(phrases: Sequence[str]) -> tuple[str, ...]:
    """The distractors that cannot name the same thing as one of `phrases`."""
    from detclipv2.language.concepts import load_concepts

    count = len(phrases)
    related = load_concepts().related([*map(_plain, phrases), *map(_plain, DISTRACTORS)])
    kept = tuple(t for i, t in enumerate(DISTRACTORS) if not related[:count, count + i].any())
    return kept if len(kept) > 1 else DISTRACTORS


def _plain(phrase: str) -> str:
    from detclipv2.language.sentence import prompt_text

    return prompt_text("{}", phrase)
