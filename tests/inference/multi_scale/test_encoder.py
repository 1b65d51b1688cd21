"""Several looks at a photo: what each adds, what leaves them out, that checkpoints keep them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.config import PRESETS, STRIDES
from detclipv2.geometry.boxes import area
from detclipv2.inference.alignment import AlignSettings
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.multi_scale.average import LEVELS, blend
from detclipv2.inference.multi_scale.encoder import LARGEST
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from detclipv2.regions import PER_REGION
from detclipv2.serving import ServingConfig

SIZE, SECOND = 128, 256
WORDS = ["cat", "taxi"]
CAPTION = "a cat on a car"


def looking(folder: Path, **looks: Any) -> Predictor:
    """A tiny model of random weights, always the same, that looks as `looks` says."""
    tiny = PRESETS["tiny"]
    serving = ServingConfig(size=SIZE, **looks)
    torch.manual_seed(0)
    model = DetCLIPv2(replace(tiny, similarity="dot"), serving=serving).eval()
    with torch.no_grad():
        model.bias.fill_(0.5)
    return Predictor(model, device="cpu", cache_dir=folder)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return looking(tmp_path_factory.mktemp("once"))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return looking(tmp_path_factory.mktemp("twice"), second=SECOND)


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return looking(tmp_path_factory.mktemp("thrice"), half=0.25, second=SECOND)


def grids(encoded: EncodedImage, name: str) -> list[torch.Tensor]:
    width, height = encoded.letterbox.padded
    values = getattr(encoded.first_look, name).split(encoded.regions.level_counts)
    return [
        v.reshape(-(-height // s), -(-width // s), *v.shape[1:])
        for v, s in zip(values, STRIDES, strict=True)
    ]


def test_the_second_look_adds_small_boxes_of_the_larger_input(
    twice: Predictor, photo: Image.Image
) -> None:
    first, closer = twice.first_look(photo), twice.first_look(photo, SECOND)
    both = twice.encode_image(photo)
    count = len(first.regions.boxes)
    boxes, scores = twice.score(both, WORDS)
    large, strength = twice.score(closer, WORDS)
    limit = LARGEST**2 * area(first.regions.anchors[0])
    uncut = closer.letterbox.to_original(closer.regions.boxes)
    small = area(first.letterbox.to_input(uncut)) <= limit
    assert 0 < small.sum() < len(large), "of both kinds, or this shows nothing"
    for found, wanted in ((boxes, large[small]), (scores, strength[small])):
        torch.testing.assert_close(found[count:], wanted, atol=1e-4, rtol=1e-4)
    boxes, scores = boxes[:count], scores[:count]
    for found, wanted in zip((boxes, scores), twice.score(first, WORDS), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (100, 85), (64, 64), (128, 5)])
def test_large_things_are_the_mean_with_half_the_size(
    once: Predictor, thrice: Predictor, photo: Image.Image, size: tuple[int, int]
) -> None:
    photo = photo.resize(size)
    whole, half = once.first_look(photo), once.first_look(photo, SIZE // 2)
    found = thrice.first_look(photo)
    names = [name for name in PER_REGION if getattr(whole.regions, name) is not None]
    for name in names:
        mixed, mine, theirs = (grids(encoded, name) for encoded in (found, whole, half))
        for level in range(len(STRIDES)):
            if name == "anchors" or level not in LEVELS:
                torch.testing.assert_close(mixed[level], mine[level])
                continue
            for row in range(mixed[level].shape[0]):
                for column in range(mixed[level].shape[1]):
                    wanted = mine[level][row, column]
                    other = theirs[level - 1]
                    if row < other.shape[0] and column < other.shape[1]:
                        at = other[row, column]
                        if name == "boxes":
                            at = whole.letterbox.to_input(half.letterbox.to_original(at))
                        wanted = 0.75 * wanted + 0.25 * at
                    torch.testing.assert_close(mixed[level][row, column], wanted)


def test_both_sizes_have_the_same_anchors_there(once: Predictor) -> None:
    photo = Image.new("RGB", (256, 128))
    whole, half = once.first_look(photo), once.first_look(photo, SIZE // 2)
    mine, theirs = grids(whole, "anchors"), grids(half, "anchors")
    for level in LEVELS:
        torch.testing.assert_close(
            whole.letterbox.to_original(mine[level]),
            half.letterbox.to_original(theirs[level - 1])[: mine[level].shape[0]],
        )


def test_no_share_changes_nothing_and_nothing_given_changes(
    once: Predictor, photo: Image.Image
) -> None:
    whole, half = once.first_look(photo), once.first_look(photo, SIZE // 2)
    before = whole.regions.embeddings.clone()
    torch.testing.assert_close(blend(whole, half, 0.0).regions.embeddings, before)
    assert not torch.allclose(blend(whole, half, 0.5).regions.embeddings, before)
    torch.testing.assert_close(whole.regions.embeddings, before)


def test_an_asked_size_is_one_look(once: Predictor, thrice: Predictor, photo: Image.Image) -> None:
    before = thrice.image_passes
    found = thrice.predict(photo, WORDS, threshold=0, size=SIZE)
    assert thrice.image_passes == before + 1
    np.testing.assert_array_equal(found.xyxy, once.predict(photo, WORDS, threshold=0).xyxy)
    usual = thrice.predict(photo, WORDS, threshold=0, max_boxes=1000)
    assert thrice.image_passes == before + 4
    assert not np.array_equal(usual.xyxy[: len(found)], found.xyxy)
    ((_, again),) = thrice.predict_many([photo], WORDS, threshold=0, max_boxes=1000)
    np.testing.assert_array_equal(again.xyxy, usual.xyxy)


def test_tiles_come_after_all_looks(thrice: Predictor, photo: Image.Image) -> None:
    plain, tiled = thrice.encode_image(photo), thrice.encode_image(photo, tiles=2)
    count = len(plain.regions.boxes)
    assert len(tiled.regions.boxes) > count
    torch.testing.assert_close(tiled.regions.boxes[:count], plain.regions.boxes)


def test_alignment_needs_the_first_look_only(
    once: Predictor, twice: Predictor, thrice: Predictor, photo: Image.Image
) -> None:
    settings = AlignSettings(regions=5)
    wanted = once.align(photo, CAPTION, settings)
    for predictor, passes in ((twice, 1), (thrice, 2)):
        before = predictor.image_passes
        found = predictor.align(photo, CAPTION, settings)
        assert predictor.image_passes == before + passes
        closer = predictor.align(predictor.encode_image(photo), CAPTION, settings)
        torch.testing.assert_close(closer.scores, found.scores)
        torch.testing.assert_close(closer.boxes, found.boxes)
        if predictor is twice:
            torch.testing.assert_close(found.scores, wanted.scores)


def test_a_checkpoint_keeps_its_looks_and_others_are_another(
    once: Predictor, twice: Predictor, thrice: Predictor, tmp_path: Path
) -> None:
    save_checkpoint(thrice.model, tmp_path / "thrice")
    serving = load_checkpoint(tmp_path / "thrice").serving
    assert (serving.half, serving.second) == (0.25, SECOND)
    assert serving.sides == (SIZE, SIZE // 2, SECOND)
    assert len({predictor.fingerprint for predictor in (once, twice, thrice)}) == 3


def test_fast_is_the_first_pass_alone(
    once: Predictor, thrice: Predictor, photo: Image.Image
) -> None:
    before = thrice.image_passes
    fast = thrice.predict(photo, WORDS, threshold=0, looks="fast")
    assert thrice.image_passes == before + 1
    wanted = once.predict(photo, WORDS, threshold=0)
    np.testing.assert_allclose(fast.xyxy, wanted.xyxy, atol=1e-3)
    np.testing.assert_allclose(fast.confidence, wanted.confidence, atol=1e-5)
    with pytest.raises(ValueError, match="looks must be one of"):
        thrice.predict(photo, WORDS, looks="slow")  # type: ignore[arg-type]


@pytest.mark.parametrize("second", [64, 32, 100, -128])
def test_an_impossible_second_look_is_named(second: int) -> None:
    with pytest.raises(ValueError, match=f"second .* got {second}"):
        ServingConfig(size=64, second=second)


def test_half_the_size_must_be_one_the_tower_takes() -> None:
    config = ServingConfig(size=512, least=320, half=0.5)
    assert [config.long_side(side, 10) for side in (100, 330, 385, 2000)] == [320, 384, 448, 512]
    for wrong in ({"size": 96}, {"size": 512, "least": 352}, {"size": 512, "short": 300}):
        with pytest.raises(ValueError, match="multiples of 64"):
            ServingConfig(half=0.5, **wrong)
    for share in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"half .* got {share}"):
            ServingConfig(size=64, half=share)
    with pytest.raises(ValueError, match="half needs similarity 'dot'"):
        ServingConfig(size=64, half=0.5).check(PRESETS["tiny"])
