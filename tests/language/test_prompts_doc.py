"""The tables of docs/prompts.md, row by row: what the document says is what the reader does."""

from __future__ import annotations

import re

import pytest

from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.language.vocabulary_class import ConceptClass
from tests.places import REPO

DOCUMENT = REPO / "docs" / "prompts.md"
_CELL = re.compile(r"(?<!\\)\|")
_SPAN = re.compile(r"``\s(.+?)\s``|`([^`]*)`")


def rows(columns: int) -> list[list[list[str]]]:
    """The code spans of every cell, of the tables with so many columns."""
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        cells = [cell.replace("\\|", "|") for cell in _CELL.split(line.strip()[1:-1])]
        if len(cells) == columns:
            found.append([[a or b for a, b in _SPAN.findall(cell)] for cell in cells])
    return found


def written(cell: list[str]) -> str:
    (text,) = cell
    return re.sub(" ?↵ ?", "\n", text).replace("⇥", "\t")


def shown(concept: ConceptClass) -> str:
    """As the document shows a class: without quotes."""
    text = ("!" if concept.negative else "") + concept.name
    text += f" = {concept.definition}" if concept.definition else ""
    text += f": {', '.join(concept.aliases)}" if concept.aliases else ""
    return text if concept.threshold is None else f"{text} @{concept.threshold:g}"


@pytest.mark.parametrize("row", rows(3), ids=lambda row: row[0][0])
def test_a_list_is_read_as_the_document_says(row: list[list[str]]) -> None:
    text, classes, notes = row
    vocabulary = Vocabulary.parse(written(text))
    assert [shown(concept) for concept in vocabulary.classes] == classes
    said = "; ".join(vocabulary.notes)
    if notes:
        assert notes[0] in said
    else:
        assert said == ""
    again = Vocabulary.parse(vocabulary.serialise())
    assert (again, again.notes) == (vocabulary, ()), "written back, nothing is unclear"


@pytest.mark.parametrize("row", rows(2), ids=lambda row: row[0][0])
def test_what_cannot_be_read_is_refused_as_the_document_says(row: list[list[str]]) -> None:
    text, message = row
    with pytest.raises(VocabularyError, match=re.escape(message[0])):
        Vocabulary.parse(written(text))


def test_the_document_has_all_its_tables() -> None:
    assert len(rows(3)) > 90 and len(rows(2)) >= 9
