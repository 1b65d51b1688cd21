"""Asking an index: what detection finds, less what eight bits and kept regions cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.index.ask import _best_of_each, ask
from app.index.photo_hash import perceptual_hash
from app.index.regions import choose_regions, photo_embedding
from app.index.store import IndexHeader, IndexWriter, RegionIndex, RunIndexError
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings

SETTINGS = DetectSettings(threshold=0.4, max_boxes=7)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    random = np.random.default_rng(1)
    blocks = (random.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(40))
    return [Image.fromarray(one).resize((90, 64), Image.Resampling.NEAREST) for one in blocks]


@pytest.fixture(scope="module")
def index(
    predictor: Predictor, photos: list[Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> RegionIndex:
    folder = tmp_path_factory.mktemp("index")
    header = IndexHeader(predictor.fingerprint, predictor.model.config.embed_dim)
    with IndexWriter(folder, header) as writer:
        for number, photo in enumerate(photos):
            encoded = predictor.encode_image(photo)
            kept = choose_regions(encoded)
            hashes = perceptual_hash(photo)
            writer.append(100 + number, photo.size, kept, photo_embedding(encoded), hashes)
    return RegionIndex(folder)


@pytest.mark.parametrize("prompts", ["cat\ndog: puppy, hound\n!shadow", "cat@0.6\nred mug"])
def test_it_finds_what_detection_finds(
    index: RegionIndex, predictor: Predictor, photos: list[Image.Image], prompts: str
) -> None:
    """All regions are kept here, so only rounding is left."""
    vocabulary = Vocabulary.parse(prompts)
    found = list(ask(index, predictor, vocabulary, SETTINGS))
    assert [one.image for one in found] == [100 + n for n in range(len(photos))]
    agree = total = 0
    for photo, one in zip(photos, found, strict=True):
        wanted = predictor.predict(photo, vocabulary, SETTINGS)
        assert wanted.confidence is not None and wanted.class_id is not None
        assert len(one.scores) <= SETTINGS.max_boxes
        assert (np.diff(one.scores) <= 0).all()
        total += len(wanted)
        for box, score, k in zip(wanted.xyxy, wanted.confidence, wanted.class_id, strict=True):
            same = (np.abs(one.boxes - box).max(axis=1) < 0.01) & (one.classes == k)
            agree += bool((np.abs(one.scores[same] - score) < 0.01).any())
    assert total > 50
    assert agree >= 0.95 * total


def test_another_checkpoints_index_is_refused(index: RegionIndex, tmp_path: Path) -> None:
    from detclipv2 import PRESETS
    from detclipv2.model import DetCLIPv2

    other = Predictor(DetCLIPv2(PRESETS["tiny"]), device="cpu", cache_dir=tmp_path)
    with pytest.raises(RunIndexError, match="index the run again"):
        next(ask(index, other, Vocabulary.parse("cat"), SETTINGS))


def test_of_very_many_boxes_each_photo_keeps_its_best_and_memory_is_bounded(
    index: RegionIndex, predictor: Predictor
) -> None:
    """At no threshold every region passes for every word; they are not compared all with all."""
    vocabulary = Vocabulary.of([f"thing {number}" for number in range(40)])
    settings = DetectSettings(threshold=0.0, max_boxes=100)
    found = list(ask(index, predictor, vocabulary, settings))
    assert all(0 < len(one.scores) <= 100 for one in found)
    photo = torch.tensor([1, 0, 1, 1, 0])
    assert _best_of_each(photo, 2).tolist() == [0, 1, 2, 4]
