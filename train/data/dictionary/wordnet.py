"""Build the concept dictionary from WordNet's own files.

    python -m train.data.dictionary.wordnet /usr/share/wordnet WORDS detclipv2/assets/concepts.tsv

Debian's package wordnet-base has the files. WORDS lists common English words, one a line (the
vocab.txt of an English BERT tokenizer will do): WordNet alone counts too few to tell "skateboard"
from "scablands". Each row of the table is a name with the synset of its
first sense that one can photograph, the synset's ancestors, and its definition.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detclipv2.command import run_command

# Lexicographer files whose nouns can be seen in a photo, and how many names each gives.
# In this order they are preferred where a word's senses were never counted in running text.
_QUOTA = {
    "06": 6300,
    "05": 1900,
    "13": 2000,
    "03": 40,
    "20": 700,
    "08": 500,
    "17": 500,
    "18": 1300,
    "15": 300,
    "27": 250,
    "14": 120,
    "19": 90,
}
# Trade names and the like are at home in these; elsewhere a capital means a proper or Latin name.
_CAPITALS = ("06", "13")
_NAME = re.compile(r"[a-z][a-z' .-]*")
HEADER = "name\tsynset\tancestors\tdefinition"


@dataclass(frozen=True)
class Synset:
    """A WordNet noun synset: its file, members, direct hypernyms, definition."""

    lexfile: str
    words: tuple[str, ...]
    hypernyms: tuple[str, ...]
    definition: str


def read_synsets(path: Path) -> dict[str, Synset]:
    """`data.noun` → synsets by offset."""
    synsets = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split()
        words = tuple(w.replace("_", " ") for w in parts[4 : 4 + 2 * int(parts[3], 16) : 2])
        pointers = parts[5 + 2 * len(words) :]
        hypernyms = tuple(
            pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")
        )
        # The gloss goes on with quoted examples.
        definition = gloss.split('; "')[0].strip()
        synsets[parts[0]] = Synset(parts[1], words, hypernyms, definition)
    return synsets


def read_senses(path: Path) -> dict[str, list[str]]:
    """`index.noun` → offsets of each lemma's senses, commonest first."""
    senses = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("  "):
            parts = line.split()
            senses[parts[0].replace("_", " ")] = parts[-int(parts[2]) :]
    return senses


def read_counts(path: Path) -> dict[tuple[str, str], int]:
    """`cntlist.rev` → how often a (lemma, lexicographer file) was tagged in running text."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, count = line.split()
        lemma, _, rest = key.partition("%")
        if rest.startswith("1:"):
            counts[lemma.replace("_", " "), rest.split(":")[1]] += int(count)
    return counts


def ancestors(offset: str, synsets: Mapping[str, Synset]) -> list[str]:
    """All hypernyms of a synset, nearest first."""
    found: dict[str, None] = {}
    frontier = [offset]
    while frontier:
        frontier = [h for o in frontier for h in synsets[o].hypernyms if h not in found]
        found.update(dict.fromkeys(frontier))
    return list(found)


def _is_name_of(lemma: str, synset: Synset) -> bool:
    # The index writes lemmas in lower case; the synset shows the capitals.
    words = [w.lower() for w in synset.words] if synset.lexfile in _CAPITALS else synset.words
    return synset.lexfile in _QUOTA and lemma in words


def build(folder: Path, common: set[str]) -> list[str]:
    """Rows of the table, header first, sorted by name.

    Raises:
        FileNotFoundError: `folder` lacks one of WordNet's files.
    """
    synsets = read_synsets(folder / "data.noun")
    counts = read_counts(folder / "cntlist.rev")
    order = {lexfile: rank for rank, lexfile in enumerate(_QUOTA)}
    by_file: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for lemma, offsets in read_senses(folder / "index.noun").items():
        visible = [o for o in offsets if _is_name_of(lemma, synsets[o])]
        if visible and _NAME.fullmatch(lemma):
            files = [synsets[o].lexfile for o in visible]
            best = max(dict.fromkeys(files), key=lambda f: (counts.get((lemma, f), 0), -order[f]))
            by_file[best].append((lemma, visible[files.index(best)]))
    rows = []
    for lexfile, entries in by_file.items():
        entries.sort(
            key=lambda entry: (
                -counts.get((entry[0], lexfile), 0),
                sum(word not in common for word in entry[0].split()),
                entry[0].count(" "),
                len(entry[0]),
            )
        )
        for lemma, offset in entries[: _QUOTA[lexfile]]:
            chain = " ".join(ancestors(offset, synsets))
            rows.append(f"{lemma}\t{offset}\t{chain}\t{synsets[offset].definition}")
    return [HEADER, *sorted(rows)]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wordnet", type=Path, help="folder with data.noun, index.noun, cntlist.rev")
    parser.add_argument("words", type=Path, help="common English words, one a line")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    common = set(options.words.read_text(encoding="utf-8").split())
    rows = build(options.wordnet, common)
    options.out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows) - 1} names written to {options.out}")


if __name__ == "__main__":
    run_command(main)
