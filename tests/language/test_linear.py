"""Four times the text costs about four times the work, whatever the text is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from detclipv2.language.limits import MAX_TEXT
from detclipv2.language.phrases import split_prompts
from detclipv2.language.prompt_lists import Form, read
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.language.vocabulary_syntax import read_written

PIECES = [
    "a and ",
    "the a and ",
    "cat, ",
    "cat;",
    "cat | ",
    "cat\n",
    "- cat\n",
    "1. cat\n",
    "1. cat ",
    "0: cat\n",
    "cat: a, ",
    "cat: ",
    "@",
    "@0.3 ",
    "@1,",
    "!",
    "#",
    " #",
    "# ",
    '"',
    ' "',
    '""',
    ' ""a',
    "'",
    " '",
    " 'a",
    "'a ",
    "' ",
    "“",
    "“a ",
    "`",
    "(",
    "( ",
    ")",
    "()",
    "(a, ",
    "[",
    "[ ",
    "]",
    "{",
    "{a:",
    "[[",
    '["a",',
    "['a', ",
    "<",
    "<br>",
    "<br ",
    "<!--",
    "<Label ",
    "<View>",
    "&amp;",
    "&a",
    "&#1;",
    ".",
    " . ",
    "a. ",
    ". ",
    "。",
    "\t",
    " ",
    "\xa0",
    "\r",
    "|",
    "|-",
    "|-|\n",
    "-",
    "--",
    "= ",
    " = ",
    "*",
    "**",
    "**a",
    "_",
    "a_",
    "a-",
    "a'",
    "12:",
    "1:2 ",
    "item {",
    "item {id: 1 name: 'a'}\n",
    "names:\n",
    "names:\n- a\n",
    "  ",
    "\\",
    '"\\',
    "n01440764 a, ",
    "/m/a,",
    "a/",
    "a / ",
    "# a\n",
    "//",
    "```\n",
    "x = [",
    "set(",
    "const ",
    "\x01",
    "猫",
    "猫、",
    "🐱 ",
    "etc, ",
    "a,0\n",
    "id,name\n",
]
FORMS: list[Form] = ["text", "json", "yaml", "xml"]
WRAPPED = {
    "text": "{}",
    "json": '["{}"]',
    "yaml": "names:\n- {}\n",
    "xml": "<View><Label value='{}'/></View>",
}
FLOOR = 0.05
"""Seconds: below this the clock says nothing."""


def seconds(work: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    with suppress(VocabularyError):
        work(text)
    return time.process_time() - start


def assert_linear(work: Callable[[str], object], piece: str, characters: int = 6_000) -> None:
    small, large = (piece * (n // len(piece) + 1) for n in (characters, 4 * characters))
    one, four = seconds(work, small), seconds(work, large)
    if four > 10 * max(one, FLOOR):  # a busy machine
        one, four = max(one, seconds(work, small)), min(four, seconds(work, large))
    # Quadratic work takes sixteen times as long.
    assert four < 10 * max(one, FLOOR), f"{piece!r}: {one:.3f} s for n, {four:.3f} s for 4 n"


@pytest.mark.parametrize("piece", PIECES)
def test_lists_are_read_in_linear_time(piece: str) -> None:
    assert_linear(read, piece)
    assert_linear(read_written, piece)
    assert_linear(split_prompts, piece)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", PIECES)
def test_files_are_read_in_linear_time(piece: str, form: Form) -> None:
    if form != "text":
        assert_linear(lambda text: read(text, form), piece)
    assert_linear(lambda text: read(WRAPPED[form].replace("{}", text), form), piece)


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    for text in ("a" * (MAX_TEXT + 1), "a\n" * 60_000, "a," * 30_000):
        with pytest.raises(VocabularyError, match="at most"):
            Vocabulary.parse(text)
    with pytest.raises(VocabularyError, match="at most 200"):
        Vocabulary.parse("cat: " + ", ".join(f"word{n}" for n in range(300)))
    with pytest.raises(VocabularyError, match="at most"):
        Vocabulary.of(f"word {n}" for n in range(20_001))


@pytest.mark.parametrize("depth", [9, 12, 40])
def test_yaml_never_copies_an_alias_out(depth: int) -> None:
    """Nine lines of nine aliases each would be 387 million names."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, depth):
        names = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} [{names}]")
    bomb = "\n".join([*lines, f"names: *a{depth - 1}"])
    start = time.process_time()
    for form in ("yaml", None):
        with pytest.raises(VocabularyError, match=r"alias \*a0"):
            Vocabulary.parse(bomb.replace("names: *", "names: [*") + "]", form)
    assert time.process_time() - start < 5, "it takes milliseconds"


@pytest.mark.parametrize("form", ["json", "yaml", "xml", None])
def test_depth_is_bounded(form: Form | None) -> None:
    for text in ("[" * 100_000, '{"a":' * 50_000, "<View>" * 100_000, "(" * 100_000):
        with pytest.raises(VocabularyError):
            Vocabulary.parse(text, form)
