"""Marks that stand before the entries of a list: bullets, check boxes, numbers, letters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from detclipv2.language.entries import Notes, listed

_BULLET = re.compile(
    r"(?:[-*+–—―>→➤]|--|->|=>)\s+|[•‣◦▪▫●○■□∙▶►✓✔✗✘☐☑☒❖◆◇★☆➤·]\s*|"
    r"[\U0001F300-\U0001FAFF\u2190-\u21FF\u2600-\u27BF\u2B00-\u2BFF]\ufe0f?\s+(?=\w)"
)
_CHECK_BOX = re.compile(r"\[[ xX✓\x01]?\]\s+")
_KEYCAP = re.compile(r"\d\ufe0f?\u20e3\s*")
_EMPHASIS = re.compile(r"(\*\*|__)(?P<words>.*)\1")

# "1. cat" and "(1) cat" are numbers by themselves; the others only one after the other.
_SURE = re.compile(r"(?:(?P<n>\d{1,6})[.)]|\((?P<m>\d{1,6})\))\s+(?=\S)")
_LETTER = re.compile(r"(?:(?P<n>[a-zA-Z])[.)]|\((?P<m>[a-zA-Z])\))\s+(?=\S)")
_ROMAN = re.compile(r"(?:(?P<n>[ivx]{1,5})[.)]|\((?P<m>[ivx]{1,5})\))\s+(?=\S)", re.IGNORECASE)
_INDEX = re.compile(r"(?P<n>\d{1,6})\s*:\s*(?=\S)")
_LOOSE = re.compile(
    r"(?P<n>\d{1,6})(?:[.)]|\s*[-–—]\s+|\s*[,;\t]\s*|\s+)(?=[^\W\d]|\x00)|"
    r"(?:[#№]\s?|\[)(?P<m>\d{1,6})(?:[\].:)]\s*|\s+)(?=[^\W\d]|\x00)"
)
_DIGITS_BEHIND = re.compile(r"\d{1,6}\Z")
_WORDNET = re.compile(r"(?P<id>n\d{8})[\s,:;]+(?P<name>[^,]+)(?:,(?P<further>.+))?")
_FREEBASE = re.compile(r"/[mgt]/[\w-]+\s*[,;\t]\s*(?P<name>.+)")
_INLINE = re.compile(r"(?:^|[\s,;])\(?(\d{1,3})[.)]\s*(?=[^\W\d]|\x00)")
_ROMANS = {"i": 1, "v": 5, "x": 10}


@dataclass(frozen=True)
class Row:
    """A line, or a piece of it, and the line's number."""

    line: int
    text: str


def without_marks(rows: list[Row], notes: Notes) -> list[Row]:
    """The rows without the marks before them; rows that are numbered "0: cat" by their numbers."""
    rows = _unbulleted(rows, notes)
    for read in (_numbered_inline, _ids, _indexed, _behind, _before):
        done = read(rows, notes)
        if done is not None:
            return done
    return rows


def _unbulleted(rows: list[Row], notes: Notes) -> list[Row]:
    kept: list[Row] = []
    marks: dict[str, None] = {}
    for row in rows:
        text = row.text
        for pattern in (_BULLET, _KEYCAP, _CHECK_BOX):
            if (found := pattern.match(text)) and text[found.end() :].strip():
                marks[found[0].strip().replace("\x01", " ")] = None
                text = text[found.end() :]
        if emphasised := _EMPHASIS.fullmatch(text):
            text = emphasised["words"].strip()
        kept.append(Row(row.line, text))
    if marks:
        notes.add(f"the marks {listed(marks)} before entries are left out")
    return kept


def _numbered_inline(rows: list[Row], notes: Notes) -> list[Row] | None:
    """Read "1. cat 2. dog" in one line: numbers one after the other, from 0 or 1 on."""
    if len(rows) != 1:
        return None
    row = rows[0]
    found = list(_INLINE.finditer(row.text))
    numbers = [int(match[1]) for match in found]
    if len(found) < 2 or found[0].start() or not _consecutive(numbers):
        return None
    ends = [match.start() for match in found[1:]] + [len(row.text)]
    notes.add("the numbers before entries are left out")
    return [
        Row(row.line, row.text[match.end() : end].strip(" ,;"))
        for match, end in zip(found, ends, strict=True)
    ]


def _ids(rows: list[Row], notes: Notes) -> list[Row] | None:
    """The ids of ImageNet's and Open Images' lists: "n01440764 tench, Tinca tinca"."""
    synsets = [_WORDNET.fullmatch(row.text) for row in rows]
    if rows and all(synsets):
        notes.add("WordNet's ids before entries are left out")
        pairs = [(row.line, found) for row, found in zip(rows, synsets, strict=True) if found]
        return [
            Row(line, f"{found['name']}: {found['further']}" if found["further"] else found["name"])
            for line, found in pairs
        ]
    machine = [_FREEBASE.fullmatch(row.text) for row in rows]
    if rows and all(machine):
        notes.add("Open Images' ids before entries are left out")
        return [
            Row(row.line, found["name"]) for row, found in zip(rows, machine, strict=True) if found
        ]
    return None


def _indexed(rows: list[Row], notes: Notes) -> list[Row] | None:
    """Read "0: cat" in every line: by the numbers, as YOLO counts classes."""
    found = [_INDEX.match(row.text) for row in rows]
    if not rows or not all(found):
        return None
    numbers = [int(match["n"]) for match in found if match]
    if len(set(numbers)) < len(numbers) or (len(rows) == 1 and numbers[0] > 1):
        return None
    pairs = zip(numbers, rows, found, strict=True)
    ordered = sorted(pairs, key=lambda entry: entry[0])
    said = "the numbers before the colons are left out"
    if numbers != sorted(numbers):
        said += "; they give the order"
    if max(numbers) - min(numbers) >= len(rows):
        said += "; their gaps are closed"
    notes.add(said)
    return [Row(row.line, row.text[match.end() :]) for _, row, match in ordered if match]


def _behind(rows: list[Row], notes: Notes) -> list[Row] | None:
    """Read "cat,0" or "cat: 0" in every line, by the numbers."""
    if len(rows) < 2:
        return None
    found = []
    for row in rows:
        split = _number_behind(row.text)
        if split is None:
            return None
        found.append((split[1], Row(row.line, split[0])))
    found.sort(key=lambda entry: entry[0])
    if not _consecutive([number for number, _ in found]):
        return None
    notes.add("the numbers behind the entries give the order and are left out")
    return [row for _, row in found]


def _number_behind(text: str) -> tuple[str, int] | None:
    """Read "cat, 0" as ("cat", 0). No single expression: runs of spaces made it quadratic."""
    digits = _DIGITS_BEHIND.search(text, max(0, len(text) - 6))
    if digits is None:
        return None
    before = text[: digits.start()]
    words = before.rstrip()
    if words.endswith((",", ";", ":", "=")):
        words = words[:-1].rstrip()
    elif "\t" not in before[len(words) :]:
        return None
    return (words, int(digits[0])) if words else None


def _before(rows: list[Row], notes: Notes) -> list[Row] | None:
    """Numbers and letters before entries, in the order as written."""
    for pattern, value, needs_order in (
        (_SURE, int, False),
        (_ROMAN, _roman, True),
        (_LETTER, _letter, True),
        (_LOOSE, int, True),
    ):
        found = [pattern.match(row.text) for row in rows]
        numbers = [_value(match, value) for match in found if match]
        if not numbers:
            continue
        loose = pattern in (_LOOSE, _ROMAN)
        if needs_order and not (
            _consecutive(numbers)
            and (len(numbers) > 1 or not loose)
            and (not loose or len(numbers) == len(rows))
        ):
            continue
        notes.add("the numbers or letters before entries are left out")
        return [
            row if match is None else Row(row.line, row.text[match.end() :])
            for row, match in zip(rows, found, strict=True)
        ]
    return None


def _value(match: re.Match[str], value: Callable[[str], int]) -> int:
    return value(match["n"] if match["n"] is not None else match["m"])


def _consecutive(numbers: list[int]) -> bool:
    return (
        bool(numbers)
        and numbers[0] in (0, 1)
        and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    )


def _letter(text: str) -> int:
    return ord(text.lower()) - ord("a") + 1


def _roman(text: str) -> int:
    values = [_ROMANS[letter] for letter in text.lower()]
    following = [*values[1:], 0]
    return sum(-a if a < b else a for a, b in zip(values, following, strict=True))
