"""Learned classes in a predictor: theirs move, all others stay, and the file of ONNX follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from detclipv2.inference.adapted_classes import AdaptedClass, AdaptedClasses
from detclipv2.inference.onnx_export import export_onnx
from detclipv2.inference.predictor import Predictor
from detclipv2.inference.region_numbers import KEPT
from detclipv2.language.vocabulary import Vocabulary
from tests.inference.test_onnx_export import CANVAS, run

WORDS = Vocabulary.parse("cup: mug, glass\ndog\n!shadow\nred mug")


@pytest.fixture(scope="module")
def adapted(predictor: Predictor) -> AdaptedClasses:
    """Of cup scores and threshold were learned, of the mug a threshold only."""
    width = predictor.model.config.embed_dim + 4
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        words = predictor.model.words(predictor.encode_texts(WORDS.texts)).float()
    weights = torch.randn(width + 2, generator=random) * 0.2
    return AdaptedClasses(
        predictor.fingerprint,
        torch.randn(width, generator=random) * 0.1,
        torch.rand(width, generator=random) + 0.5,
        (AdaptedClass("cup", words[:3], 0.4, weights), AdaptedClass("red mug", words[4:5], 0.35)),
    )


def test_other_classes_stay_to_the_bit(
    predictor: Predictor, adapted: AdaptedClasses, photo: Image.Image
) -> None:
    other = predictor.adapted(adapted)
    assert other.image_passes == predictor.image_passes
    encoded = predictor.encode_image(photo)
    before, after = (one.score_table(encoded, WORDS) for one in (predictor, other))
    assert torch.equal(before.boxes, after.boxes)
    assert torch.equal(before.scores[:, 1:], after.scores[:, 1:])
    learned = after.scores[:, 0]
    assert not torch.equal(before.scores[:, 0], learned)
    assert 0 < int((learned >= 0).sum()) <= KEPT
    same = other.adapted(None).score_table(encoded, WORDS)
    assert torch.equal(same.scores, before.scores)
    # Without one of its classes nothing is different.
    found, wanted = (one.detect(encoded, "dog, cat") for one in (other, predictor))
    np.testing.assert_array_equal(found.confidence, wanted.confidence)


def test_thresholds_are_those_that_were_learned(
    predictor: Predictor, adapted: AdaptedClasses
) -> None:
    other = predictor.adapted(adapted)
    assert other.vocabulary(WORDS).thresholds == {0: 0.4, 2: 0.35}
    assert other.vocabulary("cup: mug, glass @0.9\ndog").thresholds == {0: 0.9}, "written ones win"
    assert other.vocabulary("cup, red mug").thresholds == {1: 0.35}, "a cup of other words"
    assert predictor.vocabulary(WORDS).thresholds == {}
    assert other.learned_thresholds(WORDS) == other.vocabulary(WORDS)


def test_what_was_learned_is_part_of_the_fingerprint(
    predictor: Predictor, adapted: AdaptedClasses
) -> None:
    first = predictor.adapted(adapted)
    cup, mug = adapted.classes
    assert cup.weights is not None
    others = (
        replace(adapted, classes=(replace(cup, threshold=0.41), mug)),
        replace(adapted, classes=(replace(cup, weights=cup.weights + 1e-4), mug)),
        replace(adapted, classes=(replace(cup, words=cup.words + 1e-3), mug)),
        replace(adapted, classes=(cup,)),
        replace(adapted, mean=adapted.mean + 1e-4),
    )
    prints = [one.fingerprint for one in (predictor, first, *map(predictor.adapted, others))]
    assert len({*prints}) == len(prints)
    assert first.region_fingerprints == predictor.region_fingerprints
    assert first.adapted(None).fingerprint == predictor.fingerprint
    assert predictor.adapted(replace(adapted, source="/elsewhere")).fingerprint == prints[1]
    with pytest.raises(ValueError, match="learned with checkpoint 00000000"):
        predictor.adapted(replace(adapted, checkpoint="0" * 64))


def test_onnx_takes_learned_classes(
    predictor: Predictor, adapted: AdaptedClasses, photo: Image.Image, tmp_path: Path
) -> None:
    other = predictor.adapted(adapted)
    words = other.vocabulary(WORDS)
    export_onnx(other, words, tmp_path / "learned.onnx", canvas=CANVAS, threshold=0.6)
    found = run(onnxruntime.InferenceSession(tmp_path / "learned.onnx"), photo)
    wanted = other.predict(photo, words, threshold=0.6, size=CANVAS[0])
    plain = predictor.predict(photo, words, threshold=0.6, size=CANVAS[0])
    assert 0 in wanted.class_id
    assert not np.array_equal(plain.confidence, wanted.confidence)
    np.testing.assert_array_equal(found.class_id, wanted.class_id)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-3)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=2e-2)
