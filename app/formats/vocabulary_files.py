"""Vocabularies from files: whatever `Vocabulary.parse` reads, and what a file's name says of it."""

from __future__ import annotations

from pathlib import Path

from detclipv2.language.limits import MAX_TEXT
from detclipv2.language.prompt_lists import MAX_JSON, Form
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

_FORMS: dict[str, Form] = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".xml": "xml"}
SUFFIXES = (".txt", ".json", ".yaml", ".yml", ".xml", ".csv", ".tsv", ".names", ".pbtxt", ".md")
"""What the page's file dialogue offers; any text is read."""
_KNOWN = (
    "known are COCO and LVIS .json, YOLO's data.yaml, Label Studio's .xml, TensorFlow's .pbtxt, "
    ".csv with a column of names, and .txt with one class a line"
)
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


def read_vocabulary(path: str | Path) -> Vocabulary:
    """The classes a file names; the vocabulary's notes say how they were read.

    Raises:
        VocabularyError: a file that cannot be read or names nothing; the message names the file.
    """
    path = Path(path)
    form = _FORMS.get(path.suffix.lower())
    try:
        return Vocabulary.parse(_text(path, form), form)
    except VocabularyError as error:
        message = str(error) if form is None else f"{error}; {_KNOWN}"
        raise VocabularyError(f"{path.name}: {message}") from error
    except (OSError, ValueError) as error:
        raise VocabularyError(f"{path.name} cannot be read ({error}); {_KNOWN}") from error


def _text(path: Path, form: Form | None) -> str:
    """The file's text, if it is not too large to be a list."""
    most = 4 * (MAX_JSON if form == "json" else MAX_TEXT)  # a character has at most four bytes
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise VocabularyError(f"the file has over {most // 2**20} MB; cut it down to its names")
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise VocabularyError(f"the text is not UTF-8 ({error}); save it as UTF-8") from error
