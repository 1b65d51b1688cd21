"""The classes that data names: COCO, LVIS, YOLO, label maps and lists of other tools."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from detclipv2.language.entries import Notes, listed
from detclipv2.language.limits import check_counts
from detclipv2.language.vocabulary_class import ConceptClass, VocabularyError

KEYS = (
    "categories",
    "names",
    "class_names",
    "thing_classes",
    "classes",
    "labels",
    "id2label",
    "label2id",
    "tools",
    "shapes",
    "prompts",
    "objects",
)
"""Where tools keep their classes: COCO, YOLO, Detectron2, Darwin, transformers, Labelbox, LabelMe;
the first that is there counts."""
_NAMES = (
    "name",
    "label",
    "class",
    "class_name",
    "category",
    "title",
    "text",
    "display_name",
    "value",
)
_FURTHER = ("synonyms", "aliases")
_INTEGER = re.compile(r"[+-]?\d{1,9}")
_NONE = (None, "", "~", "null", "none")


def classes_of(data: Any, notes: Notes, *, within: int = 0) -> list[ConceptClass]:
    """The classes in lists and maps, in the order of their numbers where they have some.

    Raises:
        VocabularyError: it names none; the message says which entry or what is looked for.
    """
    if isinstance(data, Mapping):
        lower = {str(key).lower(): key for key in data}
        key = next((name for name in KEYS if name in lower), None)
        if key is not None and within < 3:
            inner = data[lower[key]]
            if key == "categories" and isinstance(inner, Sequence) and not isinstance(inner, str):
                return _categories(inner, data.get("annotations"), notes)
            return classes_of(inner, notes, within=within + 1)
        if "label" in lower and within:  # Datumaro: categories, label, labels
            return classes_of(data[lower["label"]], notes, within=within + 1)
        return _mapped(data, notes)
    if isinstance(data, str) and within and any(sign.isalpha() for sign in data):
        data = data.split(",")
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise VocabularyError(
            "no list of names; known are COCO's and LVIS's categories, YOLO's names, and lists of "
            "names or of objects with a name"
        )
    if all(isinstance(row, Mapping) for row in data):
        return _categories(data, None, notes)
    check_counts(len(data), len(data))
    return [_named(row, index) for index, row in enumerate(data)]


def _named(row: Any, index: int) -> ConceptClass:
    """An entry of a list: a name, or a name and its further words, as YOLO-World writes them."""
    if isinstance(row, Sequence) and not isinstance(row, str) and row:
        words = [row[1], *row[2:]] if _number(row[0]) is not None and len(row) > 1 else row
        name, *others = (_name(word, f"entry {index}") for word in words)
        return ConceptClass(name, tuple(others))
    if isinstance(row, Mapping):
        return _category(row, index)
    return ConceptClass(_name(row, f"entry {index}"))


def _categories(rows: Sequence[Any], annotations: Any, notes: Notes) -> list[ConceptClass]:
    """Objects with names, by their ids; groups that no box is of stay out."""
    check_counts(len(rows), len(rows))
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return [_named(row, index) for index, row in enumerate(rows)] or classes_of(None, notes)
    numbers = [_number(row.get("id")) for row in rows]
    repeated = [number for number, n in Counter(numbers).items() if number is not None and n > 1]
    if repeated:
        raise VocabularyError(f"two categories have the id {repeated[0]}; give one another id")
    order = range(len(rows))
    if None not in numbers:
        order = sorted(order, key=lambda index: numbers[index] or 0)  # type: ignore[assignment]
    groups = {str(row.get("supercategory")) for row in rows if row.get("supercategory")}
    used = (
        {_number(one.get("category_id")) for one in annotations if isinstance(one, Mapping)}
        if (isinstance(annotations, Sequence))
        else set()
    )
    kept, left = [], []
    for index in order:
        concept = _category(rows[index], index)
        above = rows[index].get("supercategory", "")
        is_group = above in _NONE and "supercategory" in rows[index] and concept.name in groups
        if is_group and numbers[index] not in used:
            left.append(concept.name)
        else:
            kept.append(concept)
    if left and kept:
        notes.add(f"the group {listed(left)}, which no box is of, is left out")
    return kept or [_category(rows[index], index) for index in order]


def _category(row: Mapping[str, Any], index: int) -> ConceptClass:
    where = f"category {row['id']}" if "id" in row else f"entry {index}"
    lower = {str(key).lower(): value for key, value in row.items()}
    key = next((key for key in _NAMES if key in lower), None)
    if key is None:
        raise VocabularyError(f"{where} has no name ({listed(map(str, row))})")
    further = next((lower[key] for key in _FURTHER if key in lower), None) or ()
    if isinstance(further, str):
        further = further.split(",")
    name = _name(lower[key], where)
    words = [_name(word, where) for word in further if word not in _NONE]
    return ConceptClass(name, tuple(word for word in dict.fromkeys(words) if word != name))


def _mapped(data: Mapping[Any, Any], notes: Notes) -> list[ConceptClass]:
    """Number → name, name → number, or name → further words."""
    check_counts(len(data), len(data))
    numbers = [_number(key) for key in data]
    if data and None not in numbers:
        pairs = sorted(zip(numbers, data.values(), strict=True), key=lambda pair: pair[0] or 0)
        if len(set(numbers)) < len(pairs):
            raise VocabularyError("two classes have the same number; give one another")
        _tell_gaps([number or 0 for number, _ in pairs], notes)
        return [_named(name, number or 0) for number, name in pairs]
    values = list(data.values())
    indices = [_number(value) for value in values]
    if data and None not in indices and len(set(indices)) == len(indices):
        order = sorted(zip(indices, data, strict=True), key=lambda pair: pair[0] or 0)
        return [ConceptClass(_name(name, f"entry {index}")) for index, name in order]
    if (
        data
        and all(value in _NONE for value in values if isinstance(value, str | None))
        and all(isinstance(value, str | None) for value in values)
    ):
        return [ConceptClass(_name(name, "a key")) for name in data]
    if data and all(isinstance(value, list | tuple) for value in values):
        return [
            ConceptClass(_name(name, "a key"), tuple(_name(word, str(name)) for word in words))
            for name, words in data.items()
        ]
    raise VocabularyError(
        f"a map from {listed(map(str, data))} that names no classes; known are 0: cat, cat: 0 and "
        "cup: [mug, tumbler], and maps with " + ", ".join(KEYS[:5])
    )


def _tell_gaps(numbers: list[int], notes: Notes) -> None:
    if numbers and numbers[-1] - numbers[0] >= len(numbers):
        notes.add(
            f"the numbers {numbers[0]} to {numbers[-1]} have gaps: the classes are numbered anew"
        )


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return None


def _name(value: Any, where: str) -> str:
    """A name as it is written there; spaces at its ends and line breaks are none of it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = "no name" if value is None else f"the name {value!r:.60}, which is no text"
        raise VocabularyError(f"{where} has {kind}")
    name = " ".join(str(value).split())
    if not name:
        raise VocabularyError(f"{where} has an empty name")
    return name
