"""Everyday words for ImageNet's classes: "golden retriever" is a dog, "sorrel" a horse.

    python -m train.data.dictionary.everyday /usr/share/wordnet train/data/dictionary/everyday.tsv

People ask for dogs, ImageNet has 118 breeds of them. A class's everyday word is the nearest name on
its way up WordNet that is common in running text. Debian's package wordnet-base has the files; the
table stands beside this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from detclipv2.command import run_command
from detclipv2.language.concepts import ConceptDictionary, load_concepts
from train.data.dictionary.wordnet import Synset, ancestors, read_counts, read_synsets

TABLE = Path(__file__).with_suffix(".tsv")
HEADER = "synset\tword"
# Beyond that many steps, or that near the root, words name too much: animal, clothing, equipment.
_STEPS, _DEPTH = 4, 8
# Occurrences in the half million words whose senses WordNet counted.
_COMMON = 5


def imagenet_synsets() -> list[str]:
    """WordNet offsets of ImageNet's 1,000 classes in the classifier's order."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet1k")
    return [info.index_to_label_name(index).removeprefix("n") for index in range(1000)]


def everyday_word(
    offset: str,
    synsets: Mapping[str, Synset],
    counts: Mapping[tuple[str, str], int],
    dictionary: ConceptDictionary,
) -> str:
    """The word of a synset, or "" where none is near.

    Args:
        offset: of the synset.
        synsets: of WordNet.
        counts: of (lemma, lexicographer file) in running text.
        dictionary: only names whose sense there is the synset's own are taken: "wind" is no flute.
    """
    for level in _upwards(offset, synsets):
        found = [
            (counts.get((word, synsets[near].lexfile), 0), word)
            for near in level
            if len(ancestors(near, synsets)) >= _DEPTH
            for word in sorted({w.lower() for w in synsets[near].words})
            if (concept := dictionary.find(word)) and concept.synset == near
        ]
        if found and max(found)[0] >= _COMMON:
            return max(found)[1]
    return ""


def everyday_words() -> list[str]:
    """The table's words in the classifier's order, "" where a class has none."""
    header, *rows = TABLE.read_text(encoding="utf-8").splitlines()
    assert header == HEADER
    return [row.partition("\t")[2] for row in rows]


def _upwards(offset: str, synsets: Mapping[str, Synset]) -> Iterator[list[str]]:
    level = [offset]
    for _ in range(_STEPS + 1):
        yield level
        level = list(dict.fromkeys(up for at in level for up in synsets[at].hypernyms))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wordnet", type=Path, help="folder with data.noun, cntlist.rev")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    synsets = read_synsets(options.wordnet / "data.noun")
    counts = read_counts(options.wordnet / "cntlist.rev")
    dictionary = load_concepts()
    rows = [
        f"{offset}\t{everyday_word(offset, synsets, counts, dictionary)}"
        for offset in imagenet_synsets()
    ]
    options.out.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    print(f"{sum(not row.endswith(chr(9)) for row in rows)} of {len(rows)} classes have a word")


if __name__ == "__main__":
    run_command(main)
