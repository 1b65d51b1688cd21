"""What a visitor sees first: the samples, with the embedded checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ui.detect.actions import SAMPLES
from app.ui.shared.photo import DEMO
from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    cache: Path = tmp_path_factory.mktemp("texts")
    return Predictor(load_checkpoint("nano"), cache_dir=cache)


@pytest.mark.parametrize(("photo", "words"), SAMPLES)
def test_a_sample_finds_what_it_asks_for(nano: Predictor, photo: str, words: str) -> None:
    vocabulary = Vocabulary.parse(words)
    found = nano.predict(DEMO / photo, vocabulary, threshold=0.3)
    assert set(found.data["class_name"]) == set(vocabulary.names)
