"""What the text tower makes of a vocabulary: prompts cut off, and prompts it cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from detclipv2.language.entries import brief
from detclipv2.language.sentence import prompt_text
from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError

Read = Callable[[Sequence[str]], list[tuple[tuple[int, ...], str]]]
"""See `TextEncoder.read`."""


def as_the_tower_reads(
    vocabulary: Vocabulary, template: str, most: int, read: Read, *, merge: bool = True
) -> Vocabulary:
    """The vocabulary, one class of those that the tower reads alike, and notes on what it cut off.

    Args:
        vocabulary: what was asked for.
        template: the sentence round each text.
        most: tokens that the tower reads.
        read: see there.
        merge: whether classes may be merged; their indices change then.

    Raises:
        VocabularyError: two classes are read alike and may not be merged, or one of them is a
            negative.
    """
    texts = [text for concept in vocabulary.classes for text in concept.texts]
    told = read([prompt_text(template, text) for text in texts])
    seen: dict[tuple[int, ...], tuple[int, str]] = {}
    kept: list[ConceptClass] = []
    notes: list[str] = []
    rest = iter(zip(texts, told, strict=True))
    for concept in vocabulary.classes:
        words = concept.words
        alike: tuple[int, str] | None = None
        fresh: list[tuple[str, tuple[int, ...]]] = []
        for place, word in enumerate(words):
            text, (ids, cut) = next(rest)
            if cut:
                notes.append(
                    f"'{brief(text)}' is too long: the model reads {most} tokens and "
                    f"not '{brief(cut)}'"
                )
            known = seen.get(ids)
            if known is None and ids not in (one for _, one in fresh):
                fresh.append((word, ids))
            elif known is not None:
                if place == 0:
                    alike = known
                notes.append(f"the model reads '{brief(text)}' and '{brief(known[1])}' alike")
        if alike is not None:
            other = kept[alike[0]]
            if not merge or other.negative != concept.negative:
                raise VocabularyError(
                    f"the model reads {concept.name!r} and {other.name!r} alike; remove or shorten "
                    "one of them"
                )
            index = alike[0]
            further = [word for word, _ in fresh]
            kept[index] = replace(other, aliases=(*other.aliases, *further))
            notes.append(f"'{brief(concept.name)}' is one class with '{brief(other.name)}'")
        else:
            index = len(kept)
            further = [word for word, _ in fresh if word != concept.name]
            kept.append(replace(concept, aliases=tuple(further)))
        seen.update((ids, (index, word)) for word, ids in fresh)
    if not notes:
        return vocabulary
    return Vocabulary(tuple(kept), (*vocabulary.notes, *dict.fromkeys(notes)))
