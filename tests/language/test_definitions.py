"""Definitions: a name's own, its head's, or the nearest name's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from detclipv2.language.concepts import Concept, ConceptDictionary, load_concepts
from detclipv2.language.definitions import Definitions
from detclipv2.language.text_cache import TextEmbeddings
from detclipv2.model import DetCLIPv2

DICTIONARY = ConceptDictionary(
    [
        Concept("mug", "1", (), "with handle and usually cylindrical"),
        Concept("cat", "2", (), "feline mammal"),
        Concept("abacus", "3", (), ""),
    ]
)


class Encoder:
    """Counts letters, with lengths that must not decide; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked.append(list(texts))
        rows = [[float(text.count(letter)) for letter in "mugcats"] for text in texts]
        return torch.tensor(rows) * torch.tensor([[100.0 if t == "cat" else 1.0] for t in texts])


@pytest.mark.parametrize(
    ("name", "enriched"),
    [
        ("mug", "mug, with handle and usually cylindrical"),
        ("Red_Mugs", "Red_Mugs, with handle and usually cylindrical"),
        ("a cat", "a cat, feline mammal"),
        ("gumum", "gumum, with handle and usually cylindrical"),  # the nearest in letters
        ("tac", "tac, feline mammal"),
        ("abacus", "abacus"),  # nothing to say
        ("cat, of mine", "cat, of mine"),
        ("", ""),
    ],
)
def test_enrich(name: str, enriched: str) -> None:
    assert Definitions(DICTIONARY, Encoder()).enrich(name) == enriched


def test_the_dictionary_is_encoded_once_and_only_if_needed() -> None:
    encoder = Encoder()
    definitions = Definitions(DICTIONARY, encoder)
    definitions.enrich_all(["mug", "two cats"])
    assert encoder.asked == []
    definitions.enrich_all(["tac", "gum", "cat", "Tac"])
    definitions.enrich_all(["ugm", "tac"])
    assert encoder.asked == [["mug", "cat", "abacus"], ["tac", "gum"], ["ugm"]]
    assert definitions.nearest(["tca", "mmg"]) == ["cat", "mug"]


def test_after_settling_nothing_is_borrowed_any_more() -> None:
    encoder = Encoder()
    definitions = Definitions(DICTIONARY, encoder)
    definitions.settle(["tac", "mug"])
    asked = len(encoder.asked)
    assert definitions.enrich_all(["tac", "gum", "cat"]) == [
        "tac, feline mammal",
        "gum",
        "cat, feline mammal",
    ]
    assert len(encoder.asked) == asked


def test_embeddings_of_enriched_names_come_through_the_cache(
    tiny_model: DetCLIPv2, tmp_path: Path
) -> None:
    texts = TextEmbeddings(tiny_model, tmp_path)
    definitions = Definitions(load_concepts(), texts.encode)
    rows = definitions.encode(["mug", "dog"])
    expected = texts.encode([definitions.enrich("mug"), definitions.enrich("dog")])
    torch.testing.assert_close(rows, expected)
    assert not torch.allclose(rows[0], texts.encode(["mug"])[0])
