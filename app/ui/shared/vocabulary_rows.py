"""A vocabulary as rows of a table, and edited rows as a vocabulary again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from detclipv2.language.concepts import load_concepts
from detclipv2.language.prompt_lines import comments_in
from detclipv2.language.sentence import prompt_text
from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError

_MOST_IN_A_CELL = 50_000


def to_rows(vocabulary: Vocabulary) -> list[list[Any]]:
    """One row a class, with the concept dictionary's definition of its name."""
    dictionary = load_concepts()
    rows: list[list[Any]] = []
    for concept in vocabulary.classes:
        entry = dictionary.find(prompt_text("{}", concept.name))
        rows.append(
            [
                concept.name,
                _joined(concept.aliases),
                concept.threshold,
                concept.negative,
                concept.definition,
                entry.definition if entry else "",
            ]
        )
    return rows


def from_rows(rows: Sequence[Sequence[Any]]) -> Vocabulary:
    """The vocabulary of an edited table; rows without a class are passed over.

    Raises:
        VocabularyError: a value that cannot be used.
    """
    classes = []
    for name, aliases, threshold, negative, definition, *_ in rows:
        name = " ".join(str(name or "").split())
        if name:
            classes.append(
                ConceptClass(
                    name,
                    _split(str(aliases or "")),
                    _threshold(threshold, name),
                    _true(negative),
                    " ".join(str(definition or "").split()),
                )
            )
    return Vocabulary(tuple(classes))


def with_thresholds(prompts: str, rows: Sequence[Sequence[Any]]) -> str:
    """`prompts` with the thresholds of an edited class table written behind the classes (@0.35).

    Comments are kept, at the top. An empty cell means: the slider's threshold.

    Raises:
        VocabularyError: the prompts or a threshold cannot be read.
    """
    own = {str(row[0]): _threshold(row[1], str(row[0])) for row in rows}
    vocabulary = Vocabulary.parse(prompts)
    classes = [
        replace(concept, threshold=own[concept.name])
        if concept.name in own and not concept.negative
        else concept
        for concept in vocabulary.classes
    ]
    return "\n".join([*comments_in(prompts), Vocabulary(tuple(classes)).serialise()])


def _threshold(cell: Any, name: str) -> float | None:
    text = "" if cell is None else str(cell).strip().replace(",", ".")
    if text in ("", "nan", "None", "null"):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise VocabularyError(
            f"the threshold {text!r} of {name!r} is no number; write one in 0..1, e.g. 0.35, "
            "or empty the cell to use the slider"
        ) from error


def _true(cell: Any) -> bool:
    return cell is True or str(cell).strip().lower() in ("true", "yes", "1")


def _joined(aliases: Sequence[str]) -> str:
    return ", ".join(
        '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
        for text in aliases
    )


def _split(cell: str) -> tuple[str, ...]:
    if len(cell) > _MOST_IN_A_CELL:
        raise VocabularyError(f"a cell with {len(cell):,} characters is too long; shorten it")
    found = next(csv.reader([" ".join(cell.split())], skipinitialspace=True), [])
    return tuple(text.strip() for text in found if text.strip())
