"""Words that stand together: quoted, or in brackets. They step aside while a list is read."""

from __future__ import annotations

import re
from bisect import bisect_right

from detclipv2.language.vocabulary_class import VocabularyError

SEPARATORS = ",;|:!=/\t，、､،；؛｜。।：！"
"""What may stand right before opening quotes or right behind closing ones."""
_CLOSING = {
    "“": "”",
    "„": "“”",
    "”": "”",
    "«": "»",
    "»": "«",
    "‹": "›",
    "「": "」",
    "『": "』",
    "〝": "〞",
    "＂": "＂",
    "'": "'",
    "‘": "’",
    "`": "`",
}
_OPENS = re.compile(rf"(?:^|[{re.escape(SEPARATORS)}(\[{{]|(?:^|\s)(?:and|or))\s*$", re.IGNORECASE)
_BEHIND = rf"(?=\s*(?:[{re.escape(SEPARATORS)}@)\]}}]|$)|\s+(?:and|or)\s)"
_ANY_QUOTE = re.compile('["' + "".join(_CLOSING) + "]")
_HIDDEN = re.compile(r"\x00(\d+)\x00")
_BRACKETS = {")": "(", "]": "[", "）": "（"}
_BRACKET = re.compile(r"[()\[\]（）]")
# Control characters stand for what is no syntax here; texts that hold any are refused before.
_KEPT = " ,;:@|#=.!、，；：·•。"
_MARKS = "\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13\x14\x15\x16"
_KEEP = str.maketrans(_KEPT, _MARKS)
_GIVE_BACK = str.maketrans(_MARKS, _KEPT)
_CLOCK = re.compile(r"(?<=\d):(?=\d)")  # "12:30", "16:9"
_NEAR = 12


class Quoted:
    """The quoted words of a text; in their places stand numbered marks."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def hide(self, line: str) -> str:
        """The line with quoted words, words in brackets and "12:30" out of the way."""
        return _keep_brackets(_CLOCK.sub(_MARKS[_KEPT.index(":")], self.hide_quotes(line)))

    def hide_quotes(self, line: str, also: bool = True) -> str:
        """The line with quoted words out of the way.

        Args:
            line: as it was written.
            also: whether other marks than "…" quote, too.
        """
        parts, start = [], 0
        closers: dict[str, list[int]] = {}
        for match in _ANY_QUOTE.finditer(line):
            at, mark = match.start(), match[0]
            if at < start or not (also or mark == '"'):
                continue
            end = _plain_end(line, at) if mark == '"' else _end(line, at, mark, closers)
            if end is None:
                continue
            words = line[at + 1 : end]
            parts += [line[start:at], f"\x00{len(self.texts)}\x00"]
            self.texts.append(words.replace('""', '"') if mark == '"' else words)
            start = end + 1
        return "".join([*parts, line[start:]])

    def open_quotes(self, text: str) -> str:
        """The text with all its quoted words back, as `hide_quotes` found them between "…"."""

        def written(match: re.Match[str]) -> str:
            return '"' + self.texts[int(match[1])].replace('"', '""') + '"'

        return _HIDDEN.sub(written, text)

    def show(self, words: str) -> str:
        """The user's own words: quotes opened, runs of spaces outside them joined.

        Raises:
            VocabularyError: quotes round a part of the words only.
        """
        if hidden := _HIDDEN.fullmatch(words):
            return self.texts[int(hidden[1])].strip()
        if "\x00" in words or words.startswith('"'):
            raise VocabularyError(f"{self.written(words)!r}: quotes must enclose the whole prompt")
        return " ".join(words.split()).translate(_GIVE_BACK)

    def written(self, words: str) -> str:
        """For messages: short, with the quotes back in place."""
        back = _HIDDEN.sub(lambda match: f'"{self.texts[int(match[1])]}"', words.strip()[:400])
        back = back.translate(_GIVE_BACK)
        return back if len(back) <= 80 else f"{back[:80]}…"


def _plain_end(line: str, at: int) -> int | None:
    """Where the "…" that opens at `at` closes; "" inside stands for a quote."""
    if at and not (line[at - 1].isspace() or line[at - 1] in SEPARATORS + "([{"):
        return None
    end = line.find('"', at + 1)
    while end != -1:
        behind = line[end + 1 : end + 2]
        if behind == '"':
            end = line.find('"', end + 2)
            continue
        return end if not behind or behind.isspace() or behind in SEPARATORS + "@)]}" else None
    return None


def _end(line: str, at: int, mark: str, closers: dict[str, list[int]]) -> int | None:
    """Where other quotes close: these are apostrophes, too, so both ends must be a prompt's."""
    if not _OPENS.search(line[max(0, at - _NEAR) : at] if at > _NEAR else line[:at]):
        return None
    if mark not in closers:
        pattern = re.compile(f"[{_CLOSING[mark]}]{_BEHIND}")
        closers[mark] = [match.start() for match in pattern.finditer(line)]
    found = closers[mark]
    place = bisect_right(found, at)
    return found[place] if place < len(found) else None


def _keep_brackets(line: str) -> str:
    """Inside a pair of brackets nothing is syntax: "cup (red, big)"."""
    opened: list[tuple[str, int]] = []
    parts, start = [], 0
    for match in _BRACKET.finditer(line):
        opener = _BRACKETS.get(match[0])
        if opener is None:
            opened.append((match[0], match.start()))
        elif opened and opened[-1][0] == opener:
            _, first = opened.pop()
            if not opened:
                parts += [line[start:first], line[first : match.end()].translate(_KEEP)]
                start = match.end()
    return "".join([*parts, line[start:]])


def without_brackets(line: str) -> str:
    """The inside of brackets that enclose the whole line; any other line as it is."""
    pairs = ("()", "[]", "（）")
    inner = line[1:-1]
    if line[:1] + line[-1:] not in pairs or _BRACKET.search(inner) or len(inner) < 2:
        return line
    return inner.translate(_GIVE_BACK).strip()
