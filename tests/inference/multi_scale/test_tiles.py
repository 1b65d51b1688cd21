"""Tiles: where they lie, what they cut off, and that their regions join those of the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detclipv2.geometry.boxes import area
from detclipv2.inference.alignment import AlignSettings
from detclipv2.inference.multi_scale.merge import cut_off
from detclipv2.inference.multi_scale.tiles import MAX_TILES, OVERLAP, lay_tiles
from detclipv2.inference.predictor import Predictor
from detclipv2.regions import PER_REGION

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.integers(2, MAX_TILES))
def test_tiles_cover_the_picture_and_are_alike(width: int, height: int, along: int) -> None:
    tiles = lay_tiles((width, height), along)
    columns, rows = (len({t[axis] for t in tiles}) for axis in (0, 1))
    assert max(columns, rows) <= along
    assert {t[2] - t[0] for t in tiles} == {tiles[0][2]}
    assert {t[3] - t[1] for t in tiles} == {tiles[0][3]}
    for axis, side in ((0, width), (1, height)):
        spans = sorted({(t[axis], t[axis + 2]) for t in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        assert all(after[0] <= before[1] for before, after in itertools.pairwise(spans))


def test_tiles_of_a_large_picture_overlap_as_they_say() -> None:
    tiles = lay_tiles((1750, 1000), 2)
    assert tiles == [(0, 0, 1000, 1000), (750, 0, 1750, 1000)]
    assert tiles[0][2] - tiles[1][0] == OVERLAP * 1000
    assert len(lay_tiles((4000, 1000), 4)) == 4, "no slivers along the short side"
    assert lay_tiles((640, 480), 1) == []


@pytest.mark.parametrize("along", [0, -1, MAX_TILES + 1, 1.5, True])
def test_an_impossible_number_is_named(along: int) -> None:
    with pytest.raises(ValueError, match=rf"tiles .* got {along}"):
        lay_tiles((640, 480), along)


def test_only_inner_edges_cut() -> None:
    boxes = torch.tensor([[0.0, 0, 50, 50], [20, 20, 100, 60], [10, 40, 60, 100], [20, 20, 60, 60]])
    size = (200, 100)
    assert cut_off(boxes, (0, 0, 100, 100), size).tolist() == [False, True, False, False]
    assert cut_off(boxes, (0, 0, 200, 100), size).tolist() == [False] * 4
    assert cut_off(boxes + 100, (100, 100, 200, 200), (200, 200)).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_regions_of_tiles_follow_those_of_the_whole(
    predictor: Predictor, photo: Image.Image
) -> None:
    whole, close = predictor.encode_image(photo), predictor.encode_image(photo, tiles=2)
    count = len(whole.regions.boxes)
    first = close.first_look
    for name in PER_REGION:
        for found, wanted in ((first, whole.regions), (whole.first_look, whole.regions)):
            if getattr(wanted, name) is not None:
                torch.testing.assert_close(getattr(found, name), getattr(wanted, name))
    boxes, scores = predictor.score(close, ["cat"])
    assert len(boxes) == len(scores) == len(close.regions.anchors) > count
    for x in close.letterbox.to_original(close.regions.anchors).T[:2]:
        assert x.min() < 0, "anchors reach over the border"


def test_a_tile_says_what_the_same_crop_says(predictor: Predictor, photo: Image.Image) -> None:
    tiles = lay_tiles(photo.size, 2)
    close = predictor.encode_image(photo, size=512, tiles=2)
    start = sum(close.regions.level_counts)
    for x0, y0, x1, y1 in tiles:
        crop = predictor.encode_image(photo.crop((x0, y0, x1, y1)), size=512)
        _, scores = predictor.score(crop, ["cat"])
        # `score` would cut them at the borders of the crop.
        boxes = crop.letterbox.to_original(crop.regions.boxes) + torch.tensor([x0, y0, x0, y0])
        small = area(close.letterbox.to_input(boxes)) <= 64**2
        whole = ~cut_off(boxes, (x0, y0, x1, y1), photo.size)
        kept = small & whole
        assert (whole & ~small).any(), "large things are the whole picture's"
        end = start + int(kept.sum())
        _, strength = predictor.score(close, ["cat"])
        found = close.letterbox.to_original(close.regions.boxes)
        torch.testing.assert_close(found[start:end], boxes[kept], atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(strength[start:end], scores[kept], atol=1e-4, rtol=1e-4)
        start = end
    assert start == len(close.regions.boxes)


def test_predict_takes_tiles(predictor: Predictor, photo: Image.Image) -> None:
    once = predictor.predict(photo, ["cat"], threshold=0, tiles=2)
    ((_, again),) = predictor.predict_many([photo], ["cat"], threshold=0, tiles=2)
    np.testing.assert_array_equal(once.xyxy, again.xyxy)
    assert once.xyxy.min() >= 0
    assert once.xyxy[:, 2].max() <= photo.width
    with pytest.raises(ValueError, match=r"tiles .* got 0"):
        predictor.predict(photo, ["cat"], tiles=0)


def test_alignment_leaves_tiles_out(predictor: Predictor, photo: Image.Image) -> None:
    whole, close = predictor.encode_image(photo), predictor.encode_image(photo, tiles=2)
    settings = AlignSettings(regions=5)
    wanted, found = (predictor.align(seen, "a cat", settings) for seen in (whole, close))
    torch.testing.assert_close(found.scores, wanted.scores)
    torch.testing.assert_close(found.boxes, wanted.boxes)
    maps = zip(*(predictor.similarity_maps(seen, ["cat"]) for seen in (close, whole)), strict=True)
    for one, other in maps:
        torch.testing.assert_close(one, other)
