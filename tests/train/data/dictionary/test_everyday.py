"""Everyday words of ImageNet's classes: the table, and the rule that made it."""

from __future__ import annotations

import torch

from detclipv2 import PRESETS
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nano.imagenet_prior import imagenet_names
from train.data.dictionary.everyday import TABLE, everyday_word, everyday_words, imagenet_synsets
from train.data.dictionary.wordnet import Synset
from train.nano.prior import class_vectors


def test_the_table_has_a_row_a_class_and_only_known_words() -> None:
    rows = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    assert [row.partition("\t")[0] for row in rows] == imagenet_synsets()
    word = dict(zip(imagenet_names(), everyday_words(), strict=True))
    assert word["golden retriever"] == "dog" and word["sorrel"] == "horse"
    assert word["tabby"] == "cat" and word["sports car"] == "car"
    assert word["zebra"] == ""  # "equine" and "animal" are either rare or too much
    assert set(filter(None, word.values())) <= set(load_concepts().names)


def test_the_nearest_common_name_of_that_very_sense_wins() -> None:
    dictionary = load_concepts()
    cat, dog = (dictionary.find(name) for name in ("cat", "dog"))
    assert cat is not None and dog is not None
    root = [Synset("03", ("thing",), (), "")]
    root += [Synset("03", (f"thing {i}",), (f"root{i}",), "") for i in range(8)]
    synsets = {f"root{i}": synset for i, synset in enumerate(root)}
    synsets[cat.synset] = Synset("05", ("cat", "true_cat"), ("root8",), "")
    synsets["feline"] = Synset("05", ("dog",), (cat.synset,), "")  # another sense of "dog"
    synsets["tabby"] = Synset("05", ("tabby",), ("feline",), "")
    counts = {("cat", "05"): 50, ("dog", "05"): 100}
    assert everyday_word("tabby", synsets, counts, dictionary) == "cat"
    assert everyday_word("tabby", synsets, {("cat", "05"): 1}, dictionary) == ""
    assert everyday_word("root8", synsets, {("thing", "03"): 99}, dictionary) == ""


def test_class_vectors_lean_towards_the_everyday_word() -> None:
    model = DetCLIPv2(PRESETS["nano"])
    model.text_encoder.load_pretrained()
    vectors = torch.nn.functional.normalize(class_vectors(model), dim=1)
    names = imagenet_names()
    asked = model.text_encoder.pooled(["a photo of a horse", "a photo of a zebra"])
    sorrel, zebra = vectors[names.index("sorrel")], vectors[names.index("zebra")]
    assert float(sorrel @ asked[0]) > 0.8
    torch.testing.assert_close(zebra, asked[1], rtol=0, atol=1e-4)
