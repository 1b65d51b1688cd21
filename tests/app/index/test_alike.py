"""More like this, near-duplicates and discovery, on indexes whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.index.alike import alike, example
from app.index.discovery import discover
from app.index.duplicates import find_duplicates
from app.index.regions import KeptRegions, quantise
from app.index.store import IndexHeader, IndexWriter, RegionIndex, RunIndexError
from detclipv2.inference.predictor import Predictor

WIDTH = 16


def unit(*places: int) -> np.ndarray:
    vector = np.zeros(WIDTH, np.float32)
    vector[list(places)] = 1
    return vector / np.linalg.norm(vector)


def regions(embeddings: np.ndarray, fit: float = 2.0) -> KeptRegions:
    """Regions side by side, one an embedding."""
    count = len(embeddings)
    left = 20.0 * np.arange(count, dtype=np.float32)
    boxes = np.stack([left, np.zeros(count), left + 10, np.full(count, 10.0)], 1)
    int8, scale = quantise(torch.from_numpy(np.asarray(embeddings, np.float32)))
    sure = np.full(count, fit, np.float32)
    return KeptRegions(boxes.astype(np.float32), sure, np.full(count, 0.9, np.float32), int8, scale)


def write(
    folder: Path,
    photos: list[np.ndarray],
    whole: list[np.ndarray] | None = None,
    hashes: list[tuple[int, int]] | None = None,
    sizes: list[tuple[int, int]] | None = None,
    checkpoint: str = "x",
) -> RegionIndex:
    width = photos[0].shape[1]
    with IndexWriter(folder, IndexHeader(checkpoint, width, 4)) as writer:
        for n, embeddings in enumerate(photos):
            photo = whole[n] if whole else np.eye(width, dtype=np.float32)[n % width]
            own = hashes[n] if hashes else (1 << 8 * n, (1 << 8 * n) ^ 0xFF)
            size = sizes[n] if sizes else (100, 100)
            writer.append(n + 1, size, regions(embeddings), photo, own)
    return RegionIndex(folder)


def test_the_most_alike_region_of_each_photo_and_not_what_is_unlike(tmp_path: Path) -> None:
    photos = [
        np.stack([unit(0), unit(5)]),
        np.stack([unit(6), unit(0, 1)]),
        np.stack([unit(7), unit(0, 2)]),
        np.stack([unit(8)]),
    ]
    index = write(tmp_path, photos)
    wanted = example(index, 1, (0, 0, 10, 10))
    found = alike(index, [wanted])
    assert [one.image for one in found[:3]] == [1, 2, 3]
    assert found[1].xyxy == (20, 0, 30, 10)
    assert found[0].similarity == pytest.approx(1, abs=0.01)
    assert [one.image for one in alike(index, [wanted], [unit(0, 1)], most=2)] == [1, 3]
    both = alike(index, [wanted, unit(8)])
    assert {one.image for one in both[:2]} == {1, 4}
    with pytest.raises(RunIndexError, match="draw another"):
        example(index, 1, (40, 40, 90, 90))
    with pytest.raises(RunIndexError, match="not in the index"):
        example(index, 9, (0, 0, 10, 10))
    with pytest.raises(ValueError, match="at least one"):
        alike(index, [])


def test_copies_are_grouped_and_the_largest_is_kept(tmp_path: Path) -> None:
    blank = np.stack([unit(0)])
    random = np.random.default_rng(0)
    numbers = [int(number) for number in random.integers(0, 2**63, 10)]
    hashes = [
        (numbers[0], numbers[1]),
        (numbers[0] ^ 0b111, numbers[1] ^ 0b1),
        (numbers[1] ^ 0b11, numbers[0]),
        (numbers[2], numbers[3]),
        (numbers[4], numbers[5]),
        (numbers[6], numbers[7]),
    ]
    whole = [unit(0), unit(1), unit(2), unit(3), unit(4), unit(4)]
    sizes = [(100, 100), (200, 200), (50, 50), (10, 10), (30, 30), (20, 20)]
    index = write(tmp_path, [blank] * 6, whole, hashes, sizes)
    groups = find_duplicates(index)
    assert [group.images for group in groups] == [(2, 1, 3), (5, 6)]
    assert groups[0].spare == (1, 3)
    assert [group.mirrored for group in groups] == [True, False]
    assert find_duplicates(index, bits=-1, cosine=1.1) == []
    assert [g.images for g in find_duplicates(index, bits=-1)] == [(5, 6)]


def test_concepts_are_found_where_they_are(tmp_path: Path, predictor: Predictor) -> None:
    names = ["cat", "red mug", "bridge", "umbrella", "drum"]
    words = predictor.model.words(predictor.encode_texts(names)).detach().numpy()
    far = words - words.mean(0)
    photos = [far[[0, 1]] * 40, far[[1]] * 40, far[[1, 3]] * 40]
    index = write(tmp_path, photos, checkpoint=predictor.fingerprint)
    found = discover(index, predictor, names, most=3)
    assert found[0].name == "red mug"
    assert {one.name for one in found} == {"red mug", "cat", "umbrella"}
    mug = found[0]
    assert mug.share > 2 * found[1].share
    assert (2, (0.0, 0.0, 10.0, 10.0)) in mug.examples[:3]
    assert discover(index, predictor, [], most=3) == []
