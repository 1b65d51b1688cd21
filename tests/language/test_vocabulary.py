"""The written vocabulary: what it means, what it refuses, and that nothing gets lost in it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from detclipv2.language.sentence import same_words
from detclipv2.language.vocabulary import MAX_CHARACTERS, ConceptClass, Vocabulary, VocabularyError


def test_one_prompt_a_line_or_separated_by_commas() -> None:
    assert Vocabulary.parse("a red mug, kettle\n\ntraffic light,").names == (
        "a red mug",
        "kettle",
        "traffic light",
    )


def test_aliases_thresholds_negatives_and_comments() -> None:
    vocabulary = Vocabulary.parse(
        "# kitchen\n"
        "cup: mug, tumbler      @0.35\n"
        "kettle                 @.25   # whistles\n"
        "!shadow: reflection    # competes, never returned\n"
        "C# book, spoon @ 1\n"
    )
    assert vocabulary.classes == (
        ConceptClass("cup", ("mug", "tumbler"), 0.35),
        ConceptClass("kettle", (), 0.25),
        ConceptClass("shadow", ("reflection",), None, negative=True),
        ConceptClass("C# book"),
        ConceptClass("spoon", (), 1.0),
    )
    assert vocabulary.names == ("cup", "kettle", "C# book", "spoon")
    assert vocabulary.negatives == ("shadow",)
    # The returned classes come first, so that their columns are the first of the matrix.
    assert vocabulary.texts == (
        "cup",
        "mug",
        "tumbler",
        "kettle",
        "C# book",
        "spoon",
        "shadow",
        "reflection",
    )
    assert vocabulary.text_counts == (3, 1, 1, 1, 2)
    assert vocabulary.thresholds == {0: 0.35, 1: 0.25, 3: 1.0}


def test_words_without_thresholds_keep_all_else() -> None:
    vocabulary = Vocabulary.parse("cup = with a handle: mug @0.35\nkettle\n!shadow")
    bare = vocabulary.without_thresholds()
    assert bare == Vocabulary.parse("cup = with a handle: mug\nkettle\n!shadow")
    assert bare.without_thresholds() == bare
    other = Vocabulary.parse("cup = with a handle: mug @0.9\nkettle @0.1\n!shadow")
    assert other.without_thresholds().hash == bare.hash != vocabulary.hash


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "a traffic light, stop sign and fire hydrant",
            ["a traffic light", "stop sign", "fire hydrant"],
        ),
        ("Stop Sign, and fire hydrant.", ["Stop Sign", "fire hydrant"]),
        ("salt and pepper, St. Bernard", ["salt and pepper", "St. Bernard"]),
        ("black and white cat\ncat and dog", ["black and white cat", "cat", "dog"]),
        ('"cat and dog", 5" pipe', ["cat and dog", '5" pipe']),
        ('"black, white and red flag"  # comment, "quoted"', ["black, white and red flag"]),
        ('"say ""hi"": @0.5 #1", "!x"', ['say "hi": @0.5 #1', "!x"]),
        ("\ufeffcat\r\ndog", ["cat", "dog"]),
        ("two   spaces\u00a0here", ["two spaces here"]),
        ("traffic_light, jalapeño", ["traffic_light", "jalapeño"]),
    ],
)
def test_names_are_the_users_own_words(text: str, names: list[str]) -> None:
    assert list(Vocabulary.parse(text).names) == names


def test_marks_hold_for_every_prompt_an_item_joins() -> None:
    vocabulary = Vocabulary.parse("cat, dog and bird @0.4\n!shadow and reflection")
    assert [c.threshold for c in vocabulary.returned] == [None, 0.4, 0.4]
    assert vocabulary.negatives == ("shadow", "reflection")
    aliases = Vocabulary.parse("vehicle: Vehicle, car, bus or lorry").classes[0].aliases
    assert aliases == ("car", "bus", "lorry")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty", "at least one prompt"]),
        ("\n # only a comment\n", ["empty"]),
        ("!shadow, !glare", ["'shadow', 'glare'", "without '!'"]),
        ("cat\n\n!Cat", ["line 3", "'Cat' repeats 'cat' of line 1", "something else"]),
        ("cup = a\ncup = b", ["line 2", "'cup' repeats 'cup' of line 1"]),
        ("# kitchen\n#cat", ["no classes are left", "'#cat'", "put quotes round it"]),
        ("cat: 0.4", ["line 1", "'cat @0.35'"]),
        ("cat\ndog @1.5", ["line 2", "1.5", "'dog'", "0..1"]),
        ("dog @-0.1", ["-0.1", "0..1"]),
        ("dog @nan", ["nan", "0..1"]),
        ("dog @35%", ["'@35%'", "not a number", "@0.35"]),
        ("dog @", ["'@'", "not a number"]),
        ("dog @0,35", ["decimal comma", "@0.35"]),
        ("dog @0.3 and cat", ["'@0.3 and cat'", "not a number"]),
        ("cup @0.3: mug", ["'cup @0.3'", "behind the last alias"]),
        ("!shadow @0.3, cat", ["'shadow'", "remove @0.3"]),
        ("@0.3", ["'@0.3' has no words"]),
        ("cat, !", ["'!' has no words"]),
        ("cup:", ["'cup:'", "cup: mug, tumbler"]),
        (": mug", ["': mug'"]),
        ("a: b: c", ["'a: b: c'", "quotes"]),
        ('cat\n"dog, bird', ["line 2", "'\"dog'", "quotes must enclose"]),
        ('"dog" bird', ["'\"dog\" bird'", "quotes must enclose"]),
        ('""', ["empty"]),
        ("x" * (MAX_CHARACTERS + 1), ["201 characters", "at most 200"]),
        ("cat\x07", ["control characters"]),
        ("cat\x00", ["NUL"]),
    ],
)
def test_errors_name_the_value_the_line_and_the_fix(text: str, parts: list[str]) -> None:
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.parse(text)
    for part in parts:
        assert part in str(caught.value)


def test_the_longest_prompt_is_allowed() -> None:
    assert Vocabulary.parse("x" * MAX_CHARACTERS).names == ("x" * MAX_CHARACTERS,)


def test_names_from_code_are_literal() -> None:
    names = ["cat and dog", "cup: mug @2", "!x, y", "# z", '"', "and", "end."]
    vocabulary = Vocabulary.of(names)
    assert list(vocabulary.names) == names
    assert Vocabulary.parse(vocabulary.serialise()) == vocabulary


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "empty"),
        (["cat", "CAT"], "'CAT' repeats 'cat'"),
        (["cat", " "], "empty"),
        (["cat", 3], "must be text, got 3"),
        (["cat", None], "must be text, got None"),
    ],
)
def test_names_from_code_are_checked(names: list[str], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.of(names)


def test_coerce_takes_text_lists_and_vocabularies() -> None:
    vocabulary = Vocabulary.of(["cat", "dog"])
    assert Vocabulary.coerce("cat, dog") == Vocabulary.coerce(["cat", "dog"]) == vocabulary
    assert Vocabulary.coerce(vocabulary) is vocabulary
    for wrong in (None, 3, b"cat"):
        with pytest.raises(VocabularyError, match="prompts must be"):
            Vocabulary.coerce(wrong)  # type: ignore[arg-type]


_CLEANED = re.compile(r"[\ufeff\u200b\u2060\xad\u200e\u200f\u202a-\u202e\u2066-\u2069<>&]")
_text = st.text(
    alphabet=st.one_of(
        st.sampled_from(' aB,:@"#!.0and'),
        st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]),
    ),
    min_size=1,
    max_size=20,
).map(str.strip)
_threshold = st.none() | st.floats(0, 1)


@given(
    st.lists(
        st.tuples(st.lists(_text, min_size=1, max_size=3), _threshold, st.booleans()), min_size=1
    )
)
def test_serialise_is_the_inverse_of_parse(
    entries: list[tuple[list[str], float | None, bool]],
) -> None:
    try:
        vocabulary = Vocabulary(
            tuple(
                ConceptClass(texts[0], tuple(texts[1:]), None if negative else threshold, negative)
                for texts, threshold, negative in entries
            )
        )
    except VocabularyError:
        assume(False)
    again = Vocabulary.deserialise(vocabulary.serialise())
    assert again == vocabulary
    assert again.hash == vocabulary.hash
    words = [text for concept in vocabulary.classes for text in concept.words]
    if len(set(map(same_words, words))) == len(words) and not _CLEANED.search(" ".join(words)):
        assert Vocabulary.parse(vocabulary.serialise()) == vocabulary


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(VocabularyError):
        vocabulary = Vocabulary.parse(text)
        assert Vocabulary.deserialise(vocabulary.serialise()) == vocabulary
        again = Vocabulary.parse(vocabulary.serialise())
        assert again == vocabulary
        assert again.notes == (), "what was read once is not unclear any more"


def test_the_hash_is_stable_over_processes_and_sees_everything() -> None:
    text = "cup: mug @0.35\n!shadow"
    code = f"from detclipv2 import Vocabulary; print(Vocabulary.parse({text!r}).hash)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == Vocabulary.parse(text).hash == "7d1f265c2379"
    odd = Vocabulary.of(["cat/dog", "12 eggs", "player #10", "T-shirt (red)"])
    assert odd.hash == "2ed846f180c0", "runs and versions of earlier releases have it"
    variants = [
        text,
        "cup: mug @0.36\n!shadow",
        "cup, mug @0.35\n!shadow",
        "cup: mug @0.35\nshadow",
        "!shadow\ncup: mug @0.35",
        "Cup: mug @0.35\n!shadow",
    ]
    assert len({Vocabulary.parse(variant).hash for variant in variants}) == len(variants)


def test_parsing_loads_neither_torch_nor_spacy() -> None:
    code = (
        "import sys; from detclipv2 import Vocabulary; Vocabulary.parse('cat, dog and red bird');"
        "print([m for m in ('torch', 'spacy', 'transformers') if m in sys.modules])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "[]"


def test_a_definition_is_read_behind_the_name_and_never_returned() -> None:
    text = (
        'crane = "tall machine, for loads": derrick @0.4\nmug = with a handle, cup\n!bird = flies'
    )
    vocabulary = Vocabulary.parse(text)
    assert vocabulary.names == ("crane", "mug", "cup")
    assert vocabulary.texts[:3] == (
        "crane, tall machine, for loads",
        "derrick",
        "mug, with a handle",
    )
    assert vocabulary.classes[3].definition == "flies" and vocabulary.classes[3].negative
    assert Vocabulary.parse(vocabulary.serialise()) == vocabulary
    assert vocabulary.hash != Vocabulary.parse("crane: derrick @0.4\nmug, cup\n!bird").hash
    assert Vocabulary.parse('"a = b", e=mc2').names == ("a = b", "e=mc2")
    for wrong in ("cup = a\ncup = b", "cup = : mug"):
        with pytest.raises(VocabularyError):
            Vocabulary.parse(wrong)
