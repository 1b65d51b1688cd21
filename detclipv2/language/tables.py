"""Tables pasted from Markdown, spreadsheets and CSV files: the column that names classes."""

from __future__ import annotations

import re

from detclipv2.language.entries import Entry, Notes
from detclipv2.language.list_marks import Row
from detclipv2.language.quoted import Quoted
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

_DIVIDER = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_NAME = (
    "name",
    "class name",
    "class_name",
    "classname",
    "class",
    "label",
    "label name",
    "label_name",
    "category",
    "category name",
    "category_name",
    "display name",
    "display_name",
    "displayname",
    "object",
    "prompt",
    "title",
    "classes",
    "labels",
    "names",
    "categories",
)
_OTHER = {
    "aliases": ("aliases", "alias", "synonyms", "synonym", "also called", "also_called"),
    "threshold": ("threshold", "score threshold", "min score"),
    "definition": ("definition", "meaning"),
}
_NUMBERS = (
    "id",
    "index",
    "idx",
    "no",
    "no.",
    "#",
    "nr",
    "nr.",
    "class id",
    "class_id",
    "category_id",
    "label_id",
    "count",
    "color",
    "colour",
)
_NUMERIC = re.compile(r"[\d.,#%\s-]*")


def read_table(rows: list[Row], quoted: Quoted, notes: Notes) -> list[Entry] | None:
    """The classes of a table; None where the rows are none.

    A table has a heading that names its columns, or Markdown's line below its heading.

    Raises:
        VocabularyError: a threshold that is no number.
    """
    dividers = (i for i, row in enumerate(rows[1:3], 1) if "|" in row.text)
    divided = next((i for i in dividers if _DIVIDER.fullmatch(rows[i].text)), None)
    if divided is not None:
        cells = [_split(row.text, "|") for row in rows]
        head, body, start = cells[divided - 1], cells[divided + 1 :], divided + 1
    else:
        sign = next((sign for sign in "\t;,|" if rows and sign in rows[0].text), None)
        if sign is None or len(rows) < 2:
            return None
        cells = [_split(row.text, sign) for row in rows]
        head, body, start = cells[0], cells[1:], 1
        known = (*_NAME, *_NUMBERS, *(name for names in _OTHER.values() for name in names))
        wide = all(len(row) == len(head) for row in body)
        if not wide or not all(_plain(cell, quoted) in known for cell in head):
            return None
    headings = [_plain(cell, quoted) for cell in head]
    column = next((headings.index(name) for name in _NAME if name in headings), None)
    if column is None and divided is None:
        return None
    if column is None:
        column = _words_column(body, len(head))
    notes.add(f"read as a table: the classes are in its column '{quoted.show(head[column])}'")
    places = {
        kind: headings.index(name)
        for kind, names in _OTHER.items()
        for name in names
        if name in headings
    }
    return [
        Entry(_class(row, column, places, quoted, rows[start + i].line), rows[start + i].line)
        for i, row in enumerate(body)
        if column < len(row) and row[column].strip()
    ]


def _class(
    row: list[str], column: int, places: dict[str, int], quoted: Quoted, line: int
) -> ConceptClass:
    def cell(kind: str) -> str:
        place = places.get(kind)
        if place is None or place >= len(row):
            return ""
        return row[place].strip()

    threshold = cell("threshold")
    try:
        own = float(threshold) if threshold else None
    except ValueError:
        raise VocabularyError(f"line {line}: the threshold {threshold!r} is no number") from None
    name = quoted.show(row[column].strip().strip("*`"))
    further = [word.strip() for word in re.split("[,;]", quoted.show(cell("aliases")))]
    words = tuple(word for word in dict.fromkeys(further) if word and word != name)
    return ConceptClass(name, words, own, False, quoted.show(cell("definition")))


def _split(text: str, sign: str) -> list[str]:
    text = text.strip()
    if sign == "|":
        text = text.removeprefix("|").removesuffix("|")
    return [cell.strip() for cell in text.split(sign)]


def _plain(cell: str, quoted: Quoted) -> str:
    try:
        return quoted.show(cell.strip().strip("*`")).lower()
    except VocabularyError:
        return cell


def _words_column(body: list[list[str]], width: int) -> int:
    """The first column that is not of numbers."""
    for column in range(width):
        if any(not _NUMERIC.fullmatch(row[column]) for row in body if column < len(row)):
            return column
    return 0
