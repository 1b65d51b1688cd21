"""Written lists, line by line: comments, bullets, numbers and separators; then `WrittenLine`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from detclipv2.language.data_names import KEYS
from detclipv2.language.entries import Entry, Notes, listed
from detclipv2.language.limits import check_counts
from detclipv2.language.list_marks import Row, without_marks
from detclipv2.language.quoted import Quoted, without_brackets
from detclipv2.language.tables import read_table
from detclipv2.language.vocabulary_class import VocabularyError
from detclipv2.language.vocabulary_syntax import WrittenLine

_COMMENT = re.compile(r"(?:^|(?<=\s))#(?=\s|$).*|^(?:#(?!\d+\b)|//).*")
_RULE = re.compile(r"[-=_*~+|:\s]{3,}")
_ENDS = re.compile(r"[;；؛|｜¦\t•●▪◦■□。।]|(?:^|(?<=\s))·(?=\s|$)")
_COMMAS = str.maketrans("、，،､：！＠", ",,,,:!@")
_HEADING = re.compile(
    rf"(?:(?:my|the|object|target|detect|find)\s+)?(?:{'|'.join(KEYS)}|class\s+names?|"
    r"class\s+list|label\s+names?|list|find|detect|look\s+for|classlist)\s*(?::|(?<=\s)=(?=\s)|$)",
    re.IGNORECASE,
)
_STOP_ALONE = re.compile(r"\s\.(?=\s|$)|^\.(?=\s)")
_STOP = re.compile(r"(?<=[^\W\d])\.(?:\s+|$)")
_SHORT = frozenset(
    (
        "st",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "jr",
        "sr",
        "mt",
        "ft",
        "no",
        "nr",
        "vs",
        "approx",
        "ca",
        "co",
        "sgt",
        "capt",
        "lt",
        "gen",
        "inc",
        "ltd",
        "vol",
        "fig",
        "ave",
        "dept",
        "est",
        "min",
        "max",
    )
)
"""Words that end in a full stop of their own."""
_UNCLEAR = re.compile(r"\S/\S|\s[/&+–—-]\s|^[-–—]\S|(?<!\S)#[^\W\d]")
_AND_SO_ON = frozenset(("etc", "etc.", "...", "…", "and so on", "and more"))


def read_lines(text: str, notes: Notes) -> list[Entry]:
    """The classes of a written list.

    Raises:
        VocabularyError: with the line, the value and the fix.
    """
    quoted = Quoted()
    rows = list(_rows(text, quoted, notes))
    table = read_table(rows, quoted, notes)
    if table is not None:
        return table
    rows = _without_headings(rows, notes)
    entries: list[Entry] = []
    for row in _sentences(_pieces(without_marks(rows, notes), notes), notes):
        try:
            found = WrittenLine(row.text, quoted).classes()
        except VocabularyError as error:
            raise VocabularyError(f"line {row.line}: {error}") from error
        entries += [Entry(concept, row.line) for concept in found]
        check_counts(len(entries), 0)
    return list(_told(entries, set(quoted.texts), notes))


def comments_in(text: str) -> list[str]:
    """The comments of a written list, each as it stands there."""
    quoted = Quoted()
    lines = (quoted.hide(line.strip()) for line in text.splitlines())
    found = (_COMMENT.search(line) for line in lines)
    return [quoted.written(match[0]) for match in found if match and match[0].startswith("#")]


def _rows(text: str, quoted: Quoted, notes: Notes) -> Iterator[Row]:
    """Lines that say something, quoted words out of the way, comments gone."""
    for number, line in enumerate(text.splitlines(), start=1):
        hidden = quoted.hide(line.strip())
        if not hidden or (_RULE.fullmatch(hidden) and "|" not in hidden):
            continue
        kept = hidden
        if found := _COMMENT.search(hidden):
            kept = hidden[: found.start()].rstrip()
            words = quoted.written(found[0])
            if kept or not re.match(r"#+\s|#$", words):
                notes.add(f"line {number}: {words!r} is left out as a comment; put quotes round it")
        if kept.strip("`"):
            yield Row(number, kept.translate(_COMMAS))


def _without_headings(rows: list[Row], notes: Notes) -> list[Row]:
    """Without "Classes:" before a list; "labels: tag" alone may be a class, and is said so."""
    kept = []
    for row in rows:
        found = _HEADING.match(row.text)
        rest = row.text[found.end() :].strip() if found else ""
        if found is None or (not rest and row is rows[-1]) or (not rest and ":" not in found[0]):
            kept.append(row)
            continue
        head = found[0].rstrip(" :=")
        if rest and "," not in rest and not any(sign in rest for sign in ";|\t"):
            notes.add(
                f"line {row.line}: '{head}' is read as a class, with another word for it; leave it "
                "out if it is a heading"
            )
            kept.append(row)
            continue
        notes.add(
            f"line {row.line}: '{found[0].strip()}' is read as a heading; write \"{head}\" with "
            "quotes for a class of that name"
        )
        if rest:
            kept.append(Row(row.line, rest))
    return kept


def _pieces(rows: Iterable[Row], notes: Notes) -> Iterator[Row]:
    """Lines cut where a class must end: at ";", "|", tabs, bullets between words, 。 and ।."""
    for row in rows:
        text = without_brackets(row.text)
        if text != row.text:
            notes.add(f"line {row.line}: the brackets round the list are left out")
            text = text.translate(_COMMAS)
        pieces = [piece.strip() for piece in _ENDS.split(text)]
        pieces = [piece for piece in pieces if piece.strip(" ,")]
        if len(pieces) > 1:
            signs = dict.fromkeys(_ENDS.findall(text.strip()))
            notes.add(f"{listed('tab' if s == chr(9) else s for s in signs)} ends a class")
            if any(":" in piece and "," in piece for piece in pieces):
                notes.add("a class with other words for it goes on to the next such sign")
        yield from (Row(row.line, piece) for piece in pieces)


def _sentences(rows: Iterable[Row], notes: Notes) -> Iterator[Row]:
    """Lines cut at full stops, where these separate prompts: "cat . dog .", "a cat. a dog."."""
    for row in rows:
        text = row.text
        if _STOP_ALONE.search(text):
            pieces = _STOP_ALONE.split(text)
        elif "," in text or ":" in text or "@" in text:
            pieces = [text]
        else:
            pieces = _at_stops(text)
        pieces = [piece.strip(" ,") for piece in pieces if piece.strip(" ,.")]
        if len(pieces) > 1:
            notes.add("full stops separate classes")
        yield from (Row(row.line, piece) for piece in pieces)


def _at_stops(text: str) -> list[str]:
    pieces, start = [], 0
    for stop in _STOP.finditer(text):
        word = text[max(start, stop.start() - 12) : stop.start()].split()[-1:]
        last = word[0].lower() if word else ""
        if stop.end() < len(text) and (last in _SHORT or len(last) == 1 or "." in last):
            continue
        pieces.append(text[start : stop.start()])
        start = stop.end()
    return [*pieces, text[start:]]


def _told(entries: list[Entry], quoted: set[str], notes: Notes) -> Iterator[Entry]:
    """The entries; what might mean something else is told."""
    for entry in entries:
        name = entry.concept.name
        if name.lower() in _AND_SO_ON and name not in quoted and len(entries) > 1:
            notes.add(f"'{name}' at the end of a list is left out")
            continue
        if name not in quoted and _UNCLEAR.search(name):
            notes.add(f"'{name}' is one class as written; for several write commas")
        yield entry
