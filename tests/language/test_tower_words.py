"""What the text tower reads of prompts, and words that it may not know."""

from __future__ import annotations

import pytest

from detclipv2.inference.predictor import Predictor
from detclipv2.language.unknown_words import unknown_words
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.model import DetCLIPv2

LONG = " ".join(["very"] * 30)


@pytest.fixture(scope="module")
def predictor(tiny_model: DetCLIPv2) -> Predictor:
    return Predictor(tiny_model, device="cpu")


def test_a_prompt_longer_than_the_tower_reads_is_said_so(predictor: Predictor) -> None:
    most = predictor.model.config.text.max_tokens
    vocabulary = predictor.vocabulary(f"{LONG} old cat, dog")
    assert vocabulary.names == (f"{LONG} old cat", "dog")
    (note,) = vocabulary.notes
    assert f"the model reads {most} tokens and not '" in note and note.endswith("old cat'")
    ids, cut = predictor.model.text_encoder.read(["cat"])[0]
    assert cut == "" and len(ids) < most


def test_prompts_that_are_equal_up_to_there_are_one_class(predictor: Predictor) -> None:
    vocabulary = predictor.vocabulary(f"{LONG} cat\n{LONG} dog\nbird")
    assert vocabulary.names == (f"{LONG} cat", "bird")
    assert any("alike" in note for note in vocabulary.notes)
    with pytest.raises(VocabularyError, match="alike; remove or shorten"):
        predictor.vocabulary([f"{LONG} cat", f"{LONG} dog"])
    with pytest.raises(VocabularyError, match="alike"):
        predictor.vocabulary(f"{LONG} cat\n!{LONG} dog")


def test_accents_that_the_tower_drops_make_no_second_class(predictor: Predictor) -> None:
    vocabulary = predictor.vocabulary("cafe, café\nbar: bár")
    assert [(c.name, c.aliases) for c in vocabulary.classes] == [("cafe", ()), ("bar", ())]
    assert "the model reads 'café' and 'cafe' alike" in vocabulary.notes
    # Equal vocabularies that were written otherwise keep their own notes.
    assert predictor.vocabulary("cafe, bar").notes == ()
    assert predictor.vocabulary("cafe, Cafe, bar").notes == (
        "the model reads 'Cafe' as it reads 'cafe': one class, 'cafe'",
    )


def test_no_box_comes_twice(predictor: Predictor) -> None:
    from PIL import Image

    picture = Image.effect_noise((96, 64), 80).convert("RGB")
    once = predictor.predict(picture, "person", threshold=0)
    twice = predictor.predict(picture, "person, a person, PERSON", threshold=0)
    assert len(once) == len(twice) > 0


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("kettel", "unknown word 'kettel'; did you mean 'kettle'"),
        ("a red bycicle", "did you mean 'bicycle'"),
        ("cup: tumblr", "did you mean 'tumbler'"),
        ("elefant", "did you mean 'elephant'"),
        ("кошка", "'кошка' has Cyrillic letters; the model reads English"),
        ("猫", "'猫' has Chinese letters"),
        ("qwertzuiop", "'qwertzuiop' is not in the dictionary"),
    ],
)
def test_unknown_words_are_told(text: str, note: str) -> None:
    assert note in " ".join(unknown_words(Vocabulary.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "cat",
        "two red mugs",
        "a man in a hat",
        "traffic_light",
        "T-shirt",
        "crane = tall kettel",
        "jalapeño",
        "12:30 clock",
        "player #10",
    ],
)
def test_known_words_are_not(text: str) -> None:
    assert unknown_words(Vocabulary.parse(text)) == ()


def test_many_unknown_words_are_told_shortly() -> None:
    found = unknown_words(Vocabulary.of(f"qwx{n}zzz" for n in range(5000)))
    assert len(found) == 13 and found[-1].startswith("…")
