"""Labels of a pasted Label Studio configuration, and lists copied out of web pages."""

from __future__ import annotations

import re
from xml.etree.ElementTree import ParseError, XMLParser

from detclipv2.language.entries import Entry, Notes
from detclipv2.language.limits import MAX_DEPTH
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

_CONFIGURATION = re.compile(r"<(?:View|\w*Labels|Choices)[\s/>]|<(?:Label|Choice)\s", re.I)
_DECLARATION = re.compile(r"^\s*<\?xml[^<>]*\?>")
_LINES = "br|li|ul|ol|p|div|tr|td|th|table|tbody|thead|option|select|dl|dt|dd|h[1-6]"
_WORDS = "span|b|i|em|strong|code|u|a|font|label|small|mark"
_TAG = re.compile(rf"</?(?:({_LINES})|{_WORDS})(?:\s[^<>]{{0,2000}})?/?>", re.I)


def read_markup(text: str, notes: Notes, *, must: bool = False) -> list[Entry] | None:
    """The labels of a configuration or of a piece of one; None where the text is none.

    Labels of rectangles go first: a configuration that has some means these.

    Args:
        text: it is read by an XML parser; a document type, where entities are declared, is refused.
        notes: what was read how.
        must: whether the text has to be one.

    Raises:
        VocabularyError: broken XML, or no labels.
    """
    text = _without_comments(_DECLARATION.sub("", text)) if "<" in text else text
    if not must and not _CONFIGURATION.match(text.lstrip()[:200]):
        return None
    if "<!" in text:
        raise VocabularyError("a configuration with '<!' is not read; remove what begins with it")
    labels = _Labels()
    parser = XMLParser(target=labels)
    try:
        parser.feed(f"<list>{text}</list>")
        parser.close()
    except ParseError as error:
        raise VocabularyError(
            f"a labelling configuration that cannot be read ({error}); paste it whole"
        ) from error
    found = labels.found.get("rectangle") or labels.found.get("label") or labels.found.get("choice")
    if not found:
        raise VocabularyError("a labelling configuration whose controls have no labels")
    if not must:
        notes.add("read as a Label Studio configuration: its labels")
    return [Entry(concept) for concept in found]


class _Labels:
    """The parser's target: no tree is built."""

    def __init__(self) -> None:
        self.found: dict[str, list[ConceptClass]] = {}
        self._open: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """A tag opens; Label Studio takes names of tags in any case."""
        kind = tag.lower()
        if len(self._open) > MAX_DEPTH:
            raise VocabularyError(f"a configuration with more than {MAX_DEPTH} tags in one another")
        if kind in ("label", "choice"):
            kinds = [kind]
            if any(parent.startswith("rectangle") for parent in self._open):
                kinds.append("rectangle")
            for group in kinds:
                if concept := _label(attributes):
                    self.found.setdefault(group, []).append(concept)
        self._open.append(kind)

    def end(self, tag: str) -> None:
        """It closes."""
        self._open.pop()

    def data(self, text: str) -> None:
        """Text between tags says nothing here."""

    def close(self) -> None:
        """The end."""


def _without_comments(text: str) -> str:
    parts, start = [], 0
    while (at := text.find("<!--", start)) != -1 and (end := text.find("-->", at)) != -1:
        parts.append(text[start:at])
        start = end + 3
    return "".join([*parts, text[start:]])


def _label(attributes: dict[str, str]) -> ConceptClass | None:
    """A label under the name it has in annotations, with its further words."""
    lower = {name.lower(): " ".join(value.split()) for name, value in attributes.items()}
    value = lower.get("value", "")
    name = lower.get("alias") or value
    if not name:
        return None
    further = (word.strip() for word in lower.get("predicted_values", "").split(","))
    words = [word for word in (value, *further) if word and word != name]
    return ConceptClass(name, tuple(dict.fromkeys(words)))


def without_tags(text: str, notes: Notes) -> str:
    """A list copied as HTML: entries on lines of their own, no tags."""
    if "<" not in text or not _TAG.search(text):
        return text
    notes.add("the tags of a web page are left out")
    return _TAG.sub(lambda match: "\n" if match[1] else "", text)
