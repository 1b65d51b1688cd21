"""Vocabularies from other tools' files, and the table beside the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import build_parser
from app.commands.detect_arguments import vocabulary_of
from app.commands.vocabulary_notes import print_vocabulary
from app.formats.vocabulary_files import read_vocabulary
from app.ui.shared.vocabulary_chips import chips
from app.ui.shared.vocabulary_editor import VocabularyActions
from app.ui.shared.vocabulary_rows import from_rows, to_rows, with_thresholds
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
    assert read_vocabulary(path).names == ("traffic_light", "dog")
    yolo = write(tmp_path, "data.yaml", "train: a\nnames:\n  1: dog\n  0: race_car\n")
    assert read_vocabulary(yolo).names == ("race_car", "dog")
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
        ("a.json", "[null]"),
        ("a2.json", '{"train": "a"}'),
        ("b.json", "{"),
        ("c.yaml", "names: 3"),
        ("d.yaml", "a: [b"),
        ("e.xml", "<View><Text"),
        ("f.txt", "cup @9"),
        ("g.json", '{"categories": []}'),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(VocabularyError, match=name):
        read_vocabulary(write(tmp_path, name, content))


def test_a_data_set_file_gives_its_names_and_not_its_keys(tmp_path: Path) -> None:
    text = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['person', 'umbrella']\n"
    for name in ("rf.yaml", "rf.yml", "rf.txt"):
        assert read_vocabulary(write(tmp_path, name, text)).names == ("person", "umbrella")
    quoted = "names:\n" + "".join(f"  '{n}': c{n}\n" for n in (0, 10, 9, 1))
    found = read_vocabulary(write(tmp_path, "quoted.yaml", quoted))
    assert found.names == ("c0", "c1", "c9", "c10")
    assert "gaps" in " ".join(found.notes)
    words = read_vocabulary(write(tmp_path, "norway.yaml", "names: [no, yes, 1.50, null]"))
    assert words.names == ("no", "yes", "1.50", "null"), "values are words, not YAML's types"


def test_a_group_that_no_box_is_of_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
    ]
    empty = write(tmp_path, "a.json", json.dumps({"categories": rows, "annotations": []}))
    found = read_vocabulary(empty)
    assert found.names == ("cat",)
    assert "the group 'pets', which no box is of, is left out" in found.notes
    boxes = {"categories": rows, "annotations": [{"category_id": 0, "bbox": [0, 0, 1, 1]}]}
    used = write(tmp_path, "b.json", json.dumps(boxes))
    assert read_vocabulary(used).names == ("pets", "cat")
    plain = [{"id": 1, "name": "person", "supercategory": "person"}]
    coco = write(tmp_path, "c.json", json.dumps({"categories": plain}))
    assert read_vocabulary(coco).names == ("person",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 3, "name": None}], "category 3 has no name"),
        ([{"id": 3, "name": "a"}, {"id": 3, "name": "b"}], "two categories have the id 3"),
        ([{"id": 3}], "category 3 has no name"),
        ([{"id": 3, "name": ["a"]}], "category 3 has the name"),
        ([{"id": 3, "name": True}], "category 3 has the name True"),
    ],
)
def test_categories_are_checked_one_by_one(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        read_vocabulary(write(tmp_path, "a.json", json.dumps({"categories": rows})))


def test_the_command_line_reads_files_as_the_page_does(tmp_path: Path) -> None:
    text = "train: a\nval: b\nnc: 2\nnames: ['person', 'umbrella']\n"
    path = write(tmp_path, "data.yaml", text)
    told = build_parser().parse_args(["detect", "x", "--prompts-file", str(path), "--out", "o"])
    vocabulary = vocabulary_of(told)
    written, _, said = VocabularyActions(tmp_path).load(str(path))
    assert vocabulary.names == Vocabulary.parse(written).names == ("person", "umbrella")
    assert "2 classes from data.yaml" in said
    typed = build_parser().parse_args(["detect", "x", "--prompts", text, "--out", "o"])
    assert vocabulary_of(typed) == vocabulary


def test_comments_stay_when_thresholds_are_written_back() -> None:
    text = '# kitchen\nplayer #10, referee  # tail\n"a # b"'
    assert with_thresholds(text, [["referee", 0.4]]).splitlines() == [
        "# kitchen",
        "# tail",
        '"player #10"',
        "referee @0.4",
        '"a # b"',
    ]
    with pytest.raises(VocabularyError, match="too long"):
        from_rows([["cup", "mug," * 50_000, None, False, ""]])


def test_files_of_other_systems_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "notepad.txt"
    path.write_bytes("cat\r\ndog\r\n".encode("utf-16"))
    assert read_vocabulary(path).names == ("cat", "dog")
    path.write_bytes("café".encode("cp1252"))
    with pytest.raises(VocabularyError, match="save it as UTF-8"):
        read_vocabulary(path)
    path.write_bytes(b"cat, " * 2_000_000)
    with pytest.raises(VocabularyError, match="over 3 MB; cut it down"):
        read_vocabulary(path)
    with pytest.raises(VocabularyError, match=r"nothing.txt cannot be read"):
        read_vocabulary(tmp_path / "nothing.txt")


def test_what_is_typed_is_shown_as_read_and_escaped() -> None:
    shown = chips('cup: mug @0.3\n!shadow\ncat, a cat\n"<img src=x>"', Vocabulary.parse)
    assert "<b>cup</b> <i>or mug</i> <i>@0.3</i>" in shown
    assert '<li class="negative"><i>not</i> <b>shadow</b></li>' in shown
    assert "the model reads &#x27;a cat&#x27; as it reads &#x27;cat&#x27;" in shown
    assert "<img" not in shown and "&lt;img src=x&gt;" in shown
    assert "3 classes" in shown
    assert "unknown word &#x27;kettel&#x27;; did you mean" in chips("kettel", Vocabulary.parse)
    wrong = chips("a: <x>: c", Vocabulary.parse)
    assert "reading wrong" in wrong and "&lt;x&gt;" in wrong
    assert chips(" ", Vocabulary.parse) == ""
    assert "… and 940 more" in chips("\n".join(f"w{n}" for n in range(1000)), Vocabulary.parse)


def test_the_command_line_tells_classes_and_notes_once() -> None:
    said: list[str] = []
    print_vocabulary(
        Vocabulary.parse("cup: mug @0.3, cat; !shadow\nCat".replace(", cat;", ";cat;")), said.append
    )
    assert said[0] == "2 classes: cup (or mug) @0.3 | cat | not shadow"
    assert any("one class, 'cat'" in line for line in said[1:])


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
