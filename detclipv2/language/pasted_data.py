"""Lists pasted as data: JSON, YAML, lists and maps of program text, TensorFlow's label maps.

Whatever the form, the data is lists, maps and texts; `data_names` finds the classes in it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from detclipv2.language.data_names import KEYS, classes_of
from detclipv2.language.entries import Entry, Notes
from detclipv2.language.limits import MAX_DEPTH
from detclipv2.language.vocabulary_class import VocabularyError

_KEY_LINE = re.compile(
    rf"^(?:{'|'.join(KEYS)})[ \t]*:[ \t]*(?P<rest>[\[{{&].*|(?:#.*)?)$(?P<next>\n+[^\n]*)?",
    re.MULTILINE | re.IGNORECASE,
)
_OTHER_KEY = re.compile(r"^(?:path|train|val|test|nc|download|roboflow)[ \t]*:", re.MULTILINE)
_ITEM_LINE = re.compile(r"-\s+(?:name|label|id|title|class)\s*:\s", re.IGNORECASE)
_INDEX_LINE = re.compile(r"\s*[\"']?\d+[\"']?[ \t]*:")
_ASSIGNED = re.compile(
    r"(?:(?:const|let|var|final|static|public|export|String|auto)(?:\[\])?\s+)*"
    r"(?P<name>[\w.]{1,60})(?:\s*:\s*[\w\[\], .]{1,40})?\s*(?P<sign>=|:)\s*(?=[\[({])"
)
_LABEL_MAP = re.compile(r"\s*item\s*\{")
_MAP_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_MAP_FIELD = re.compile(r"(display_name|name|id)\s*:\s*(\"[^\"\n]*\"|'[^'\n]*'|\d+)")
_TOKEN = re.compile(
    r"""\s*(?:(?:[rbuf]?(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|(?P<mark>[\[\](){}:,])"""
    r"""|(?P<word>[^\[\](){}:,"'\s][^\[\](){}:,"\n]*))"""
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_BEGINS_DATA = re.compile(r"[\[{]\s*[\[{\"']")
_CALL = re.compile(r"(?:set|list|tuple|frozenset|dict|dict_values|dict_keys)\s*$")
_CLOSES = {"[": "]", "(": ")", "{": "}"}


def read_pasted(text: str, notes: Notes) -> list[Entry] | None:
    """The classes of a text that is data; None where it is something else.

    Raises:
        VocabularyError: data that names no classes, or that breaks off.
    """
    text = _without_fence(text).strip()
    if _LABEL_MAP.match(text):
        notes.add("read as a TensorFlow label map")
        return [Entry(concept) for concept in classes_of(_label_map(text), notes)]
    if (assigned := _ASSIGNED.match(text)) and _names_a_list(assigned):
        rest = text[assigned.end() :].rstrip("; \n")
        if _encloses(rest):
            text = rest
    if _encloses(text):
        data, kind = _data(text)
        if kind:
            notes.add(f"read as {kind}")
            return [Entry(concept) for concept in classes_of(data, notes)]
    elif _BEGINS_DATA.match(text):
        raise VocabularyError("a list in brackets that is not closed; close it, or remove them")
    if _is_yaml(text):
        notes.add("read as YAML")
        return read_yaml(text, notes)
    return None


def read_json(text: str, notes: Notes) -> list[Entry]:
    """The classes of a JSON file: COCO, LVIS, a list of names, a list of objects with names.

    Raises:
        VocabularyError: no JSON, or no classes in it.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VocabularyError(f"not JSON: {error}") from error
    return [Entry(concept) for concept in classes_of(data, notes)]


def read_yaml(text: str, notes: Notes) -> list[Entry]:
    """The classes of a YAML file; every value is taken as it is written ("yes" stays "yes").

    Raises:
        VocabularyError: no YAML, or no classes in it.
    """
    return [Entry(concept) for concept in classes_of(_yaml(text), notes)]


def _names_a_list(assigned: re.Match[str]) -> bool:
    """Not in "cup: [mug]"; in "classes: [cat]" and in "things = ['cat']"."""
    inner = assigned.string[assigned.end() + 1 : assigned.end() + 20].lstrip()
    return assigned["name"].lower() in KEYS or (assigned["sign"] == "=" and inner[:1] in ("'", '"'))


def _is_yaml(text: str) -> bool:
    """A data set's file; a heading and bullets alone are none, they may hold our own syntax."""
    if _ITEM_LINE.match(text):
        return True
    found = _KEY_LINE.search(text)
    if found is None:
        return False
    return bool(
        found["rest"][:1] in ("[", "{", "&")
        or _INDEX_LINE.match((found["next"] or "").lstrip("\n"))
        or _OTHER_KEY.search(text)
    )


def _without_fence(text: str) -> str:
    """Without Markdown's fences round a block."""
    if "```" not in text:
        return text
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("```"))


def _encloses(text: str) -> bool:
    """Whether brackets stand at both ends; tuples only of quoted words, "(a) cat (b)" is none."""
    text = text.rstrip(";, \n")
    first, last = text[:1], text[-1:]
    if first == "(":
        return last == ")" and text[1:].lstrip()[:1] in ("'", '"')
    call = _CALL.match(text.partition("(")[0]) if "(" in text[:20] else None
    return _CLOSES.get(first) == last or (call is not None and last == ")")


def _data(text: str) -> tuple[Any, str]:
    """What the brackets hold, and what kind of text that is; "" where it is no data."""
    try:
        return json.loads(text), "JSON"
    except (ValueError, RecursionError):
        pass
    try:
        return _literal(text.rstrip(";, \n")), "a list in brackets"
    except VocabularyError:
        if _BEGINS_DATA.match(text):
            raise
        return None, ""


def _literal(text: str) -> Any:
    """Lists, sets, tuples and maps of Python, JavaScript and YAML's one-line form."""
    stack: list[tuple[str, list[Any], list[Any]]] = []  # closer, keys, values
    calls: set[int] = set()  # depths of "set(", which holds a list and is none
    done: list[Any] = []
    at, key, value = 0, None, None
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if not text[at:].strip():
                break
            raise VocabularyError(
                f"a list in brackets that cannot be read at {text[at : at + 20]!r}"
            )
        at = match.end()
        mark = match["mark"]
        if done:
            raise VocabularyError(f"words behind the brackets: {match[0].strip()!r:.40}")
        if mark is None:
            word = _unquoted(match["text"]) if match["text"] else match["word"].strip()
            if value is not None:
                raise VocabularyError(f"a comma is missing before {word!r:.40}")
            value = word
        elif mark in _CLOSES:
            if isinstance(value, str) and (mark != "(" or not _CALL.match(value)):
                raise VocabularyError(f"a comma is missing behind {value!r:.40}")
            if len(stack) >= MAX_DEPTH:
                raise VocabularyError(f"more than {MAX_DEPTH} lists in one another")
            stack.append((_CLOSES[mark], [], []))
            if value is not None:
                calls.add(len(stack))
            if key is not None:
                stack[-2][1].append(key)
            key = value = None
        elif not stack:
            raise VocabularyError(f"a list in brackets that begins with {mark!r}")
        elif mark == ":":
            key, value = value, None
        else:
            closer, keys, values = stack[-1]
            if value is not None:
                values.append(value)
                if key is not None:
                    keys.append(key)
            key = value = None
            if mark == closer:
                stack.pop()
                if keys and len(keys) != len(values):
                    raise VocabularyError("a map in which some entries have no value")
                value = _pairs(keys, values) if keys else values
                if len(stack) + 1 in calls and len(values) == 1:
                    value = values[0]
                calls.discard(len(stack) + 1)
                if not stack:
                    done = [value]
                    value = None
            elif mark != ",":
                raise VocabularyError(f"brackets that do not match: {mark!r}")
    if not done:
        raise VocabularyError("a list in brackets that is not closed; close it")
    return done[0]


def _pairs(keys: list[Any], values: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if key in found:
            raise VocabularyError(f"the key {key!r:.40} is there twice; remove one of them")
        found[key] = value
    return found


def _unquoted(text: str) -> str:
    """A string of program text, its escapes read."""

    def read(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        return {"n": " ", "t": " ", "r": " "}.get(code, code)

    return _ESCAPE.sub(read, text[1:-1])


def _label_map(text: str) -> list[dict[str, Any]]:
    rows = []
    for item in _MAP_ITEM.finditer(text):
        fields = {name: value.strip("\"'") for name, value in _MAP_FIELD.findall(item[1])}
        name = fields.get("display_name", fields.get("name"))
        number = fields.get("id", "")
        known = {"id": int(number)} if re.fullmatch(r"[0-9]{1,18}", number) else {}
        rows.append({"name": name, **known})
    return rows


def _yaml(text: str) -> Any:
    """Lists, maps and texts, from the parser's events: aliases are never copied out."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[tuple[list[Any], bool]] = []
    roots: list[Any] = []
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise VocabularyError(
                    f"YAML with the alias *{event.anchor} is not read; write the names out"
                )
            if isinstance(event, yaml.CollectionStartEvent):
                if len(stack) >= MAX_DEPTH:
                    raise VocabularyError(f"more than {MAX_DEPTH} lists in one another")
                stack.append(([], isinstance(event, yaml.MappingStartEvent)))
                continue
            if isinstance(event, yaml.ScalarEvent):
                value: Any = event.value
            elif isinstance(event, yaml.CollectionEndEvent):
                values, is_map = stack.pop()
                value = _pairs(_keys(values[::2]), values[1::2]) if is_map else values
            else:
                continue
            (stack[-1][0] if stack else roots).append(value)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise VocabularyError(f"YAML that cannot be read: {said:.200}") from error
    return roots[0] if roots else ""


def _keys(keys: list[Any]) -> list[Any]:
    if not all(isinstance(key, str) for key in keys):
        raise VocabularyError("YAML with a list as a key is not read")
    return keys
