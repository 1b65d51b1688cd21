"""Vocabularies from other tools' files, and the table beside the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.ui.vocabulary_editor import VocabularyActions
from app.ui.vocabulary_rows import from_rows, to_rows
from app.vocabulary_files import read_vocabulary
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

LABELS = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Race car"/><Label value="dog"/>
</RectangleLabels></View>"""


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_every_format_gives_its_names_in_order(tmp_path: Path) -> None:
    coco = {"categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "traffic_light"}]}
    path = write(tmp_path, "instances.json", json.dumps(coco))
    assert read_vocabulary(path).names == ("traffic light", "dog")
    yolo = write(tmp_path, "data.yaml", "train: a\nnames:\n  1: dog\n  0: race_car\n")
    assert read_vocabulary(yolo).names == ("race car", "dog")
    assert read_vocabulary(write(tmp_path, "data.yml", "names: [a, b, a]")).names == ("a", "b")
    assert read_vocabulary(write(tmp_path, "config.xml", LABELS)).names == ("Race car", "dog")
    text = write(tmp_path, "mine.txt", "\ufeffcup: mug @0.3\n!shadow")
    assert read_vocabulary(text) == Vocabulary.parse("cup: mug @0.3\n!shadow")


def test_lvis_synonyms_become_aliases_each_once(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "name": "cup", "synonyms": ["cup", "mug"], "def": "a small container"},
        {"id": 2, "name": "bowl", "synonyms": ["mug", "basin"], "def": "a dish"},
    ]
    found = read_vocabulary(write(tmp_path, "lvis.json", json.dumps({"categories": rows})))
    assert [(c.name, c.aliases) for c in found.classes] == [("cup", ("mug",)), ("bowl", ("basin",))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "[1]"), ("b.json", "{"), ("c.yaml", "names: 3"), ("d.yaml", "a: [b"),
        ("e.xml", "<View><Text"), ("f.txt", "cup @9"), ("g.json", '{"categories": []}'),
    ],
)  # fmt: skip
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(VocabularyError, match=name):
        read_vocabulary(write(tmp_path, name, content))


def test_the_table_and_the_text_say_the_same(tmp_path: Path) -> None:
    text = 'crane = machine for heavy loads: derrick @0.4\n!shadow\n"a, b"'
    rows = to_rows(Vocabulary.parse(text))
    assert rows[0][:5] == ["crane", "derrick", 0.4, False, "machine for heavy loads"]
    assert rows[0][5], "the dictionary knows cranes"
    assert rows[1][3] is True
    assert from_rows(rows) == Vocabulary.parse(text)
    quoted = Vocabulary.parse('flag: "black, red", "so ""called"" flag", banner')
    assert to_rows(quoted)[0][1].endswith(", banner")
    assert from_rows(to_rows(quoted)) == quoted
    rows[2][0] = ""
    assert from_rows(rows).names == ("crane",)

    actions = VocabularyActions(tmp_path)
    written, _, said = actions.define("cup\nqwertzuiop")
    assert Vocabulary.parse(written).classes[0].definition
    assert "definition" in said
    saved = Path(actions.save(text))
    assert Vocabulary.parse(saved.read_text(encoding="utf-8")) == Vocabulary.parse(text)
    rows[0][2] = "high"
    _, said = actions.edit(rows, text)
    assert "is no number" in said
