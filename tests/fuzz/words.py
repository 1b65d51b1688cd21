"""What people type, paste, edit and follow: prompts, tables, links, phrases, configurations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.labelstudio.api.config_xml import ConfigError
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from tests.fuzz.bending import bent_bytes, bent_json, bent_text, bent_value
from tests.fuzz.driver import Surface

LISTS = (
    "cat, a red mug",
    "cup: mug, tumbler @0.35\n!shadow\ncrane = machine that lifts loads",
    "cat . dog .",
    "cat;dog",
    "- cat\n- dog",
    "1. cat\n2) dog",
    "player #10, referee",
    "12:30 clock",
    '["cat", "dog"]',
    "{0: 'cat', 1: 'dog'}",
    "names:\n  0: cat\n  1: dog\nnc: 2\n",
    "a traffic light, stop sign and fire hydrant",
    "| a | b |\n|---|---|\n| cat | dog |",
    '<View><RectangleLabels name="l" toName="i"><Label value="cat"/></RectangleLabels></View>',
    '{"categories": [{"id": 1, "name": "cat"}]}',
    "item { id: 1 name: 'cat' }",
    "猫、犬；鳥",
    "“a cat”, «un chat», 'dog'",
    "cat\tdog",
    "Katze und Hund",
    "кошка, собака",
)
PIECES = (
    ",",
    ";",
    "|",
    "\n",
    "\r\n",
    "\t",
    " ",
    ".",
    " . ",
    ":",
    "@",
    "@0.5",
    "@-1",
    "@nan",
    "@1e9",
    "!",
    "#",
    " # ",
    '"',
    "'",
    "“",
    "`",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "<br>",
    "&amp;",
    "&#0;",
    "&",
    "=",
    " = ",
    "-",
    "*",
    "•",
    "–",
    "/",
    "\\",
    "\x00",
    "\x1b",
    "\u200b",
    "\ufeff",
    "\u202e",
    "\ud800",
    "🙈",
    "猫",
    "، ",
    "。",
    "a and ",
    "or ",
    "cat",
    "a" * 300,
    "1.",
    "0: ",
    "- ",
    "[ ] ",
    "names:",
    "&a [*a,*a]",
    "*a",
    "!!python/object/apply:os.system ['true']",
    "%TAG",
    "---\n",
    "<!DOCTYPE x [<!ENTITY a 'b'>]>",
    "<View>",
    "</View>",
    "<Label value='",
    "null",
    "~",
    '{"id":',
    "item {",
    "N",
    "\u2028",
    "e\u0301",
    "ﬁ",
    "𝐜𝐚𝐭",
)
SUFFIXES = (".txt", ".json", ".yaml", ".xml", ".csv", ".tsv", ".names", ".pbtxt", ".md")


def word_surfaces(folder: Path) -> list[Surface]:
    """Those of texts; files are written below `folder`."""
    return [
        Surface("prompts", _prompts, _read_prompts, (VocabularyError,)),
        Surface("files of prompts", _files, _Files(folder / "lists"), (VocabularyError,)),
        Surface("edited tables", _tables, _read_table, (VocabularyError,)),
        Surface("links", _links, _follow, (ValueError,)),
        Surface("edited phrases", _phrases, _read_phrases, (ValueError,)),
        Surface("labeling configurations", _configs, _read_config, (ConfigError,)),
    ]


def _prompts(chance: random.Random) -> Iterator[str]:
    while True:
        if chance.random() < 0.2:
            count = chance.choice((1, 5, 40, 4000))
            yield "".join(chance.choice(PIECES) for _ in range(count))
        else:
            yield bent_text(chance.choice(LISTS), PIECES, chance)


def _read_prompts(text: str) -> None:
    from app.ui.shared.vocabulary_chips import chips

    chips(text, Vocabulary.parse)
    vocabulary = Vocabulary.parse(text)
    assert Vocabulary.parse(vocabulary.serialise()) == vocabulary
    assert Vocabulary.deserialise(vocabulary.serialise()) == vocabulary
    assert all(name.strip() for name in vocabulary.names)


def _files(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for text in _prompts(chance):
        content = text.encode(chance.choice(("utf-8", "utf-8", "utf-16")), "surrogatepass")
        if chance.random() < 0.3:
            content = bent_bytes(content, chance)
        yield chance.choice(SUFFIXES), content


class _Files:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def __call__(self, given: tuple[str, bytes]) -> None:
        from app.formats.vocabulary_files import read_vocabulary

        file = self._folder / f"list{given[0]}"
        file.write_bytes(given[1])
        read_vocabulary(file)


def _tables(chance: random.Random) -> Iterator[tuple[str, Any]]:
    good = [["cup", "mug, tumbler", 0.4, False, "a vessel", ""], ["dog", "", None, True, "", ""]]
    while True:
        rows: Any = good
        for _ in range(chance.choice((1, 2, 5))):
            rows = bent_value(rows, chance)
        # gradio gives a list of rows as wide as the table, cells of any kind
        rows = (
            [(list(row) + [""] * 6)[:6] for row in rows if isinstance(row, list)]
            if isinstance(rows, list)
            else good
        )
        text = "cup: mug @0.4\ndog"
        if chance.random() < 0.5:
            yield bent_text(text, PIECES, chance), good
        else:
            yield text, rows


def _read_table(given: tuple[str, Any]) -> None:
    from app.ui.shared.vocabulary_rows import from_rows, to_rows, with_thresholds

    text, rows = given
    to_rows(from_rows(rows))
    shown = [[row[0], row[2], 1, 0.5] for row in rows]  # the other table: class, threshold, …
    Vocabulary.parse(with_thresholds(text, shown))


def _links(chance: random.Random) -> Iterator[dict[str, str]]:
    state = {
        "settings": {"threshold": 0.3, "nms_iou": 0.6, "max_boxes": 100, "tiles": 1},
        "phrases": [["a cat", 0, 5]],
        "screen": {"level": "all"},
    }
    good = {"view": "detect", "photo": "0" * 16, "words": "a cat"}
    while True:
        query = {
            name: str(bent_value(value, chance) if chance.random() < 0.2 else value)
            for name, value in good.items()
        }
        query["view"] = chance.choice(("detect", "align", "browse", "compare", "train", "x"))
        query["state"] = bent_json(state, chance).decode("utf-8", "replace")
        yield query


def _follow(query: dict[str, str]) -> None:
    from app.ui.shared.permalink import Link, find_photo

    link = Link.read(query)
    if link is not None:
        find_photo(link.photo)
        assert Link.read(dict(_pairs(link.query()))) == link


def _pairs(query: str) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(query.removeprefix("?"), keep_blank_values=True)


def _phrases(chance: random.Random) -> Iterator[tuple[Any, str]]:
    good = [{"text": "a cat", "span": [0, 5]}, {"text": "mat", "span": None}]
    while True:
        rows: Any = good
        for _ in range(chance.choice((1, 2, 4))):
            rows = bent_value(rows, chance)
        yield rows, bent_text("a cat on a mat", PIECES, chance)[:5000]


def _read_phrases(given: tuple[Any, str]) -> None:
    from app.ui.align.find import read_phrases

    for phrase in read_phrases(*given):
        assert isinstance(phrase.text, str)


CONFIG = """<View>
  <Image name="image" value="$image"/><Image name="pages" valueList="$pages"/>
  <RectangleLabels name="label" toName="image"><Label value="cat" alias="c"/></RectangleLabels>
  <Labels name="more" toName="pages"><Label value="dog"/></Labels>
  <Rectangle name="shape" toName="pages"/><TextArea name="prompt" toName="image"/>
</View>"""
_TAGS = (
    *PIECES,
    "<Image name='a' value='$b'/>",
    "<Repeater on='$x'>",
    "</Repeater>",
    'name="label"',
    'toName="nowhere"',
    'toName="image,pages"',
    "<Label/>",
    '<Label value=""/>',
    "<label value='c'/>",
    'value="$a.b[0]"',
    "<!--",
    "-->",
    "<![CDATA[",
    "&x;",
    'smart="true"',
    "<Choices name='c'/>",
)


def _configs(chance: random.Random) -> Iterator[str]:
    while True:
        yield bent_text(CONFIG, _TAGS, chance)


def _read_config(config: str) -> None:
    from app.labelstudio.api.config_map import read_config

    read_config(config, Vocabulary.parse("cat\ndog: hound\nowl"))
