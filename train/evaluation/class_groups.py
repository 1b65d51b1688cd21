"""Which classes of a test set training has met: boxed, only named, or never."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from detclipv2.language.concepts import ConceptDictionary, readings
from detclipv2.language.sentence import prompt_text
from train.data.sample import Sample

Group = Literal["boxed", "named", "unseen"]
_LONGEST = 3
_WORD = re.compile(r"[a-z][a-z'-]*")


def group_classes(
    classes: Sequence[str],
    samples: Iterable[Sample],
    texts: Iterable[str],
    dictionary: ConceptDictionary,
) -> dict[str, Group]:
    """The group of each class.

    Args:
        classes: names of a test set.
        samples: what is trained on with boxes; boxed concepts and their head nouns make "boxed".
        texts: captions and image-level names that training may read; with the unboxed concepts
            they make "named".
        dictionary: gives synonyms and heads.
    """
    boxed: set[str] = set()
    named: set[str] = set()
    for sample in samples:
        with_box = set(np.flatnonzero(sample.labels.any(axis=0)))
        for index, concept in enumerate(sample.concepts):
            known = boxed if index in with_box else named
            known |= {concept, dictionary.head(concept)}
    for text in texts:
        named |= _spans(text)
    groups: dict[str, Group] = {}
    for name in classes:
        words = dictionary.synonyms(prompt_text("{}", name))
        groups[name] = "boxed" if words & boxed else "named" if words & named else "unseen"
    return groups


def read_texts(paths: Iterable[Path], split: str = "train") -> list[str]:
    """Captions and image-level names of COCO-captions and tag files, of one split's photos."""
    texts: list[str] = []
    for path in paths:
        data = json.loads(path.read_text(encoding="utf-8"))
        kept = {i["id"] for i in data["images"] if i.get("split", split) == split}
        names = {c["id"]: str(c.get("text") or c["name"]) for c in data.get("categories", [])}
        for a in data["annotations"]:
            if a["image_id"] in kept:
                texts.append(a["caption"] if "caption" in a else names[a["category_id"]])
    return list(dict.fromkeys(texts))


def _spans(text: str) -> set[str]:
    """All runs of up to three words, as written and in the singular."""
    words = _WORD.findall(text.lower())
    runs = (words[i : i + n] for n in range(1, _LONGEST + 1) for i in range(len(words) - n + 1))
    return {reading for run in runs for reading in [" ".join(run), *readings(run)]}
