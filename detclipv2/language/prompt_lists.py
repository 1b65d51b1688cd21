"""Lists of prompts as people write, paste and save them; docs/prompts.md has the rules.

One reader for the page, the command line, the API and Label Studio: a text becomes classes, and
notes that say what was read how, what was merged and what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Literal, get_args

from detclipv2.language import pasted_data
from detclipv2.language.entries import Entry, Notes, merge
from detclipv2.language.limits import MAX_TEXT, check_counts, check_text
from detclipv2.language.pasted_markup import read_markup, without_tags
from detclipv2.language.prompt_lines import read_lines
from detclipv2.language.quoted import Quoted
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

Form = Literal["text", "json", "yaml", "xml"]
"""What a file's name says of its content."""
MAX_JSON = 32 * 2**20
"""Characters of a JSON file: data sets carry their classes beside much else."""

# Byte order marks, zero-width spaces, soft hyphens, marks of the writing direction.
_INVISIBLE = dict.fromkeys(
    [0xFEFF, 0x200B, 0x2060, 0x00AD, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,30});")


@dataclass(frozen=True)
class Reading:
    """What a text says: classes, and what to tell the one who wrote it."""

    classes: tuple[ConceptClass, ...]
    notes: tuple[str, ...]


def read(text: str, form: Form | None = None) -> Reading:
    """Read a list of prompts.

    Args:
        text: as it was typed, pasted or saved.
        form: what it must be; None finds out.

    Raises:
        VocabularyError: what cannot be read, with its line and the fix.
    """
    if not isinstance(text, str) or form not in (None, *get_args(Form)):
        raise VocabularyError(f"prompts must be text, got {text!r:.80}")
    check_text(text, MAX_JSON if form == "json" else MAX_TEXT)
    notes = Notes()
    entries = _entries(_clean(text, form), form, notes)
    check_counts(len(entries), sum(len(entry.concept.words) for entry in entries))
    return Reading(tuple(merge(entries, notes)), notes.told())


def _clean(text: str, form: Form | None) -> str:
    """Without what nobody sees; entities of web pages as the signs they stand for."""
    if control := _CONTROL.search(text):
        kind = "NUL" if control[0] == "\x00" else "control"
        kind = "torn" if control[0] >= "\ud800" else kind  # half of a pair
        raise VocabularyError(
            f"the text holds {kind} characters ({control[0]!r}); remove them, or save it as UTF-8"
        )
    text = text.translate(_INVISIBLE)
    if form not in (None, "text") or "&" not in text:
        return text
    return _outside_quotes(text, lambda part: _ENTITY.sub(lambda match: unescape(match[0]), part))


def _outside_quotes(text: str, change: Callable[[str], str]) -> str:
    """The text changed, but for what stands between "…"."""
    if '"' not in text:
        return change(text)
    quoted = Quoted()
    hidden = "\n".join(quoted.hide_quotes(line, also=False) for line in text.split("\n"))
    return quoted.open_quotes(change(hidden))


def _entries(text: str, form: Form | None, notes: Notes) -> list[Entry]:
    if form == "json":
        return pasted_data.read_json(text, notes)
    if form == "yaml":
        return pasted_data.read_yaml(text, notes)
    labels = read_markup(text, notes, must=form == "xml")
    if labels is not None:
        return labels
    text = _outside_quotes(text, lambda part: without_tags(part, notes))
    found = pasted_data.read_pasted(text, notes)
    return read_lines(text, notes) if found is None else found
