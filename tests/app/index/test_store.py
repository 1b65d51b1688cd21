"""The index on disk: what is appended is read back, and a kill or a fault is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.index.photo_hash import distance, perceptual_hash
from app.index.regions import KeptRegions, choose_regions, photo_embedding, quantise
from app.index.store import IndexHeader, IndexWriter, RegionIndex, RunIndexError
from detclipv2.inference.images import open_image
from detclipv2.inference.predictor import Predictor

HEADER = IndexHeader("c0ffee", width=4, regions=3)


def regions(count: int, seed: int = 0) -> KeptRegions:
    random = np.random.default_rng(seed)
    corner = random.random((count, 2)) * 50
    embeddings, scale = quantise(torch.from_numpy(random.normal(size=(count, 4))).float())
    return KeptRegions(
        np.hstack([corner, corner + 10]).astype(np.float32),
        random.normal(size=count).astype(np.float32),
        random.random(count).astype(np.float32),
        embeddings,
        scale,
    )


def add(writer: IndexWriter, image: int, count: int = 3) -> KeptRegions:
    made = regions(count, image)
    writer.append(image, (60, 60), made, np.full(4, 0.5), (2**63 + image, image))
    return made


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", HEADER) as writer:
        made = {image: add(writer, image, count) for image, count in ((7, 3), (8, 0), (9, 2))}
    index = RegionIndex(tmp_path / "index")
    assert index.images.tolist() == [7, 8, 9]
    assert index.damaged() == []
    for place, (image, wanted) in enumerate(made.items()):
        assert int(index.records["hashes"][place][0]) == 2**63 + image
        for name, value in vars(index.regions(place)).items():
            np.testing.assert_array_equal(value, getattr(wanted, name))


def test_of_a_photo_seen_twice_the_last_counts(tmp_path: Path) -> None:
    with IndexWriter(tmp_path, HEADER) as writer:
        add(writer, 1), add(writer, 2), add(writer, 1, 1)
    index = RegionIndex(tmp_path)
    assert len(index) == 2
    assert index.images.tolist() == [2, 1]
    assert index.records["count"][index.places].tolist() == [3, 1]


@pytest.mark.parametrize("name", ["regions.bin", "embeddings.bin"])
@pytest.mark.parametrize("left", [0.0, 0.4, 0.999])
def test_a_photo_that_a_kill_cut_off_is_gone_and_the_next_is_whole(
    tmp_path: Path, name: str, left: float
) -> None:
    with IndexWriter(tmp_path, HEADER) as writer:
        add(writer, 1), add(writer, 2)
    size = (tmp_path / name).stat().st_size // 2
    with (tmp_path / name).open("r+b") as file:
        file.truncate(int(size + left * size))
    assert RegionIndex(tmp_path).images.tolist() == [1]
    with IndexWriter(tmp_path, HEADER) as writer:
        wanted = add(writer, 3)
    index = RegionIndex(tmp_path)
    assert index.images.tolist() == [1, 3]
    np.testing.assert_array_equal(index.regions(1).embeddings, wanted.embeddings)


@pytest.mark.parametrize("name", ["regions.bin", "embeddings.bin"])
def test_a_changed_byte_is_noticed(tmp_path: Path, name: str) -> None:
    with IndexWriter(tmp_path, HEADER) as writer:
        add(writer, 1), add(writer, 2)
    content = bytearray((tmp_path / name).read_bytes())
    content[9] ^= 1
    (tmp_path / name).write_bytes(content)
    index = RegionIndex(tmp_path)
    assert index.damaged() == [1]
    with pytest.raises(RunIndexError, match="photo"):
        index.regions(0)
    assert index.regions(1).scale.shape == (3,)


def test_others_indexes_and_broken_headers_are_refused(tmp_path: Path) -> None:
    IndexWriter(tmp_path, HEADER).close()
    with pytest.raises(RunIndexError, match="delete the folder"):
        IndexWriter(tmp_path, IndexHeader("other", 4, 3))
    assert len(RegionIndex(tmp_path)) == 0
    with pytest.raises(RunIndexError, match="has no index"):
        RegionIndex(tmp_path / "nowhere")
    for content in ("[]", "{", '{"format": 9}', '{"format": 1, "checkpoint": "x", "width": "4"}'):
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(RunIndexError):
            RegionIndex(tmp_path)
    with pytest.raises(RunIndexError, match="must lie"):
        IndexHeader("x", 10**9, 3)


def test_eight_bits_are_off_by_half_a_step_at_most() -> None:
    given = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    given[0] = 0
    rounded, scale = quantise(given)
    error = np.abs(rounded * scale[:, None] - given.numpy())
    assert (error <= scale[:, None] / 2 + 1e-7).all()


def test_regions_like_the_words_come_first_and_lie_in_the_photo(
    predictor: Predictor, photo_file: Path
) -> None:
    encoded = predictor.encode_image(photo_file)
    words = predictor.model.words(predictor.encode_texts(["cat", "red block"])).detach()
    kept = choose_regions(encoded, words, most=20)
    assert len(kept.boxes) == 20
    width, height = encoded.size
    assert (kept.boxes >= 0).all()
    assert (kept.boxes[:, 2] <= width).all() and (kept.boxes[:, 3] <= height).all()
    assert (kept.boxes[:, 2:] > kept.boxes[:, :2]).all()
    similar = (encoded.regions.embeddings @ words.T).amax(1).sigmoid()
    best = (similar * encoded.regions.localisation.sigmoid()).max()
    own = torch.from_numpy(kept.embeddings[:1] * kept.scale[:1, None]) @ words.T
    found = own.amax().sigmoid() * torch.tensor(kept.localisation[0]).sigmoid()
    assert float(found) == pytest.approx(float(best), rel=0.03)
    assert len(choose_regions(encoded).boxes) <= len(encoded.regions.boxes)
    assert np.linalg.norm(photo_embedding(encoded)) == pytest.approx(1, abs=1e-5)


def test_a_hash_survives_resizing_and_knows_the_mirror_image() -> None:
    from detclipv2.assets import FOLDER

    photos = [open_image(path) for path in sorted((FOLDER / "demo").glob("*.jpg"))]
    hashes = [perceptual_hash(photo) for photo in photos]
    for photo, (own, mirrored) in zip(photos, hashes, strict=True):
        small = photo.resize((photo.width // 3, photo.height // 3))
        assert distance(perceptual_hash(small)[0], own) <= 4
        flipped = photo.transpose(0)
        assert distance(perceptual_hash(flipped)[0], mirrored) <= 4
        assert distance(own, mirrored) > 10
    firsts = [own for own, _ in hashes]
    assert min(distance(a, b) for a in firsts for b in firsts if a != b) > 16
