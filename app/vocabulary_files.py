"""Vocabularies from files: our own text, COCO, LVIS, YOLO and Label Studio configurations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError

SUFFIXES = (".txt", ".json", ".yaml", ".yml", ".xml")


def read_vocabulary(path: str | Path) -> Vocabulary:
    """The classes a file names.

    COCO and LVIS files give their categories in the order of their ids, LVIS with synonyms as
    aliases; data.yaml its `names`; a labelling configuration the labels of its box controls. Any
    other text is our own written form.

    Raises:
        VocabularyError: a file that cannot be read or names nothing; the message names the file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return _distinct(_categories(json.loads(text)))
        if path.suffix.lower() in (".yaml", ".yml"):
            return _distinct((name, ()) for name in _yolo_names(text))
        if path.suffix.lower() == ".xml" or text.lstrip().startswith("<"):
            return _distinct((name, ()) for name in _labels(text))
        return Vocabulary.parse(text)
    except VocabularyError as error:
        raise VocabularyError(f"{path.name}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VocabularyError(
            f"{path.name} holds no vocabulary ({error or type(error).__name__}); known are COCO "
            "and LVIS .json, YOLO's data.yaml, Label Studio's .xml, and .txt with one class a line"
        ) from error


def _categories(data: Any) -> list[tuple[str, Sequence[str]]]:
    if not isinstance(data, dict) or not isinstance(data.get("categories"), list):
        raise ValueError("no list of categories")
    rows = sorted(data["categories"], key=lambda row: row.get("id", 0))
    return [(_plain(row["name"]), [_plain(s) for s in row.get("synonyms", ())]) for row in rows]


def _yolo_names(text: str) -> list[str]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    if not isinstance(names, list) or not names:
        raise ValueError("no list of names")
    return [_plain(name) for name in names]


def _labels(text: str) -> list[str]:
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        controls = LabelInterface(text).controls
    except Exception as error:  # the parser meets broken XML with exceptions of several libraries
        raise ValueError(f"no labelling configuration: {error}") from error
    boxes = [c for c in controls if c.tag.lower().startswith("rectangle")] or list(controls)
    names = [str(label) for control in boxes for label in control.labels]
    if not names:
        raise ValueError("its controls have no labels")
    return names


def _distinct(entries: Iterable[tuple[str, Sequence[str]]]) -> Vocabulary:
    """Each text once, the names before the aliases: two classes of LVIS may share a synonym."""
    rows = list(entries)
    taken: set[str] = set()
    names = []
    for name, synonyms in rows:
        if name.casefold() not in taken:
            taken.add(name.casefold())
            names.append((name, synonyms))
    classes = []
    for name, synonyms in names:
        free = tuple(dict.fromkeys(s for s in synonyms if s and s.casefold() not in taken))
        taken.update(s.casefold() for s in free)
        classes.append(ConceptClass(name, free))
    return Vocabulary(tuple(classes))


def _plain(name: object) -> str:
    return " ".join(str(name).replace("_", " ").split())
