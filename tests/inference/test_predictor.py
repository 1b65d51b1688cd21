"""The Predictor on a real tiny model: what it returns, what it runs, and how often."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detclipv2.fingerprint import fingerprint
from detclipv2.geometry.boxes import clip
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.postprocess import select
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.model import DetCLIPv2
from detclipv2.serving import SERVING, ServingConfig
from tests.inference.same import WORDS, same


@pytest.fixture(scope="session")
def encoded(predictor: Predictor, photo: Image.Image) -> EncodedImage:
    return predictor.encode_image(photo)


@pytest.fixture
def passes(spread_model: DetCLIPv2) -> Iterator[list[tuple[int, ...]]]:
    """Heights and widths the network really ran on, counted there and not by the Predictor."""
    seen: list[tuple[int, ...]] = []
    handle = spread_model.image_tower.fpn.register_forward_hook(
        lambda _module, inputs, _output: seen.append(tuple(8 * s for s in inputs[0][0].shape[-2:]))
    )
    yield seen
    handle.remove()


def test_labels_are_the_users_own_words(predictor: Predictor, photo: Image.Image) -> None:
    detections = predictor.predict(photo, WORDS, threshold=0.05, max_boxes=500)
    assert len(set(detections.class_id)) > 1
    for index, name in zip(detections.class_id, detections.data["class_name"], strict=True):
        assert name == WORDS[index]
    assert (np.diff(detections.confidence) <= 0).all()
    width, height = photo.size
    assert (detections.xyxy >= 0).all()
    assert (detections.xyxy <= [width, height, width, height]).all()
    assert (detections.xyxy[:, 2:] > detections.xyxy[:, :2]).all()


def test_class_ids_count_returned_classes_only(predictor: Predictor, photo: Image.Image) -> None:
    written = "!shadow\ntaxi: cab\n!glare\noil"
    detections = predictor.predict(photo, written, threshold=0.0, max_boxes=500)
    assert set(detections.class_id) <= {0, 1}
    assert set(detections.data["class_name"]) <= {"taxi", "oil"}


def test_predictions_match_the_network_run_by_hand(spread_model: DetCLIPv2, tmp_path: Path) -> None:
    """On an image that needs no resizing the whole chain is a few lines."""
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    predictor = Predictor(spread_model, device="cpu", cache_dir=tmp_path, anchor_share=1.0)
    found = predictor.predict(pixels, ["taxi"], threshold=0.0, nms_iou=1.0, max_boxes=10_000)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        regions = spread_model.encode_image((batch - 0.5) / 0.5)
        logits = spread_model.similarity(regions.embeddings, spread_model.encode_text(["taxi"]))
    scores = (logits[0, :, 0].sigmoid() * regions.centerness[0].sigmoid()).sqrt()
    boxes = regions.boxes[0].clamp(0, 64)
    valid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    assert len(found) == int(valid.sum()) > 50
    np.testing.assert_allclose(
        found.confidence, scores[valid].sort(descending=True).values, atol=1e-5
    )


def test_boxes_are_in_pixels_of_the_original(
    predictor: Predictor, encoded: EncodedImage, photo: Image.Image
) -> None:
    """100 x 60 is scaled to 64 x 38 for the network; every box is one of the network's, undone."""
    found = predictor.detect(encoded, ["taxi"], threshold=0.0, nms_iou=1.0, max_boxes=10_000)
    scale = torch.tensor([100 / 64, 60 / 38, 100 / 64, 60 / 38])
    boxes = (encoded.regions.boxes * scale).minimum(torch.tensor([100.0, 60, 100, 60])).clamp(min=0)
    distance = (torch.from_numpy(found.xyxy)[:, None] - boxes[None]).abs().amax(dim=-1)
    assert len(found) > 10
    assert distance.amin(dim=1).max() < 1e-3


def test_one_image_pass_serves_any_number_of_vocabularies(
    predictor: Predictor, photo: Image.Image, passes: list[tuple[int, ...]]
) -> None:
    before = predictor.image_passes
    encoded = predictor.encode_image(photo)
    for prompts in (["taxi"], "oil, glass\n!shadow", Vocabulary.of(WORDS)):
        for threshold in (0.1, 0.2, 0.6):
            predictor.detect(encoded, prompts, threshold=threshold)
        found = predictor.candidates(encoded, prompts)
        select(found, threshold=0.3)
    assert len(passes) == 1
    assert predictor.image_passes - before == 1
    predictor.predict(photo, ["taxi"])
    assert len(passes) == 2
    assert predictor.image_passes - before == 2


def test_detect_is_predict_without_the_image(
    predictor: Predictor, encoded: EncodedImage, photo: Image.Image
) -> None:
    settings = {"threshold": 0.1, "nms_iou": 0.4, "max_boxes": 7}
    same(predictor.detect(encoded, WORDS, **settings), predictor.predict(photo, WORDS, **settings))
    found = predictor.candidates(encoded, WORDS, floor=0.05)
    same(select(found, **settings), predictor.detect(encoded, WORDS, **settings))


@settings(max_examples=15, deadline=None)
@given(
    others=st.lists(st.text("abcdefgh ", min_size=1, max_size=12), min_size=1, max_size=12),
    place=st.integers(0, 12),
)
def test_scores_do_not_depend_on_the_other_words(
    predictor: Predictor, encoded: EncodedImage, others: list[str], place: int
) -> None:
    unique = {" ".join(word.split()): None for word in others if word.strip()}
    names = [word for word in unique if word != "taxi"]
    names.insert(place, "taxi")
    loose = {"threshold": 0.0, "nms_iou": 1.0, "max_boxes": 10_000}
    alone = predictor.detect(encoded, ["taxi"], **loose)
    among = predictor.detect(encoded, names, **loose)
    mine = among.confidence[among.class_id == names.index("taxi")]
    assert len(mine)
    np.testing.assert_allclose(mine, alone.confidence[: len(mine)], atol=1e-5)


def test_a_thousand_words_change_no_score(predictor: Predictor, encoded: EncodedImage) -> None:
    words = ["taxi", *(f"thing {i}" for i in range(1202))]
    among = predictor.detect(encoded, words, threshold=0.0, nms_iou=1.0, max_boxes=10_000)
    alone = predictor.detect(encoded, ["taxi"], threshold=0.0, nms_iou=1.0, max_boxes=10_000)
    mine = among.confidence[among.class_id == 0]
    # Where many boxes are wanted, many reach the suppression; else a thousand.
    assert len(among) == 10_000
    assert len(predictor.candidates(encoded, words, floor=0.0).scores) == 1000
    np.testing.assert_allclose(mine, alone.confidence[: len(mine)], atol=1e-5)


def test_rotated_photos_answer_in_upright_pixels(
    predictor: Predictor, photo: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    same(
        predictor.predict(tmp_path / "turned.png", WORDS, threshold=0.1),
        predictor.predict(photo, WORDS, threshold=0.1),
    )


def test_small_photos_are_not_enlarged_beyond_what_the_model_says() -> None:
    config = ServingConfig(size=512, least=320)
    sides = {(256, 192): 320, (300, 320): 320, (321, 200): 352, (500, 375): 512, (4000, 10): 512}
    for photo_size, side in sides.items():
        assert config.long_side(*photo_size) == side
    assert ServingConfig(size=512).long_side(256, 192) == 512
    paper = SERVING["swin_t"]
    sides = {(640, 480): 1056, (640, 640): 800, (480, 640): 1056, (640, 360): 1344, (900, 30): 1344}
    for photo_size, side in sides.items():
        assert paper.long_side(*photo_size) == side
    for wrong in (1345, -1):
        with pytest.raises(ValueError, match=f"short .*{wrong}"):
            ServingConfig(size=1344, short=wrong)
    for wrong in (544, 100, -32):
        with pytest.raises(ValueError, match=str(wrong)):
            ServingConfig(size=512, least=wrong)


def test_the_size_can_be_chosen(
    predictor: Predictor, photo: Image.Image, passes: list[tuple[int, ...]]
) -> None:
    encoded = predictor.encode_image(photo, size=128)
    predictor.predict(photo, ["taxi"])
    assert passes == [(96, 128), (64, 64)]
    assert encoded.size == photo.size
    assert len(encoded.regions.boxes) == len(encoded.regions.centerness)
    for size in (0, 100, -64):
        with pytest.raises(ValueError, match=f"positive multiple of 32, got {size}"):
            predictor.predict(photo, ["taxi"], size=size)


def test_all_scores_come_with_boxes_cut_at_the_borders(
    predictor: Predictor, encoded: EncodedImage
) -> None:
    boxes, scores = predictor.score(encoded, ["cat"])
    uncut = encoded.letterbox.to_original(encoded.regions.boxes)
    assert (uncut < 0).any() and (uncut > max(encoded.size)).any(), "or this shows nothing"
    torch.testing.assert_close(boxes, clip(uncut, *encoded.size))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    best = int((scores[:, 0] * inside).argmax())
    found = predictor.detect(encoded, ["cat"], threshold=0, max_boxes=1)
    np.testing.assert_allclose(found.xyxy[0], boxes[best], atol=1e-3)
    np.testing.assert_allclose(found.confidence[0], scores[best, 0], atol=1e-5)


def test_proposals_are_ranked_by_how_well_they_fit_and_detections_are_not(
    predictor: Predictor, encoded: EncodedImage
) -> None:
    regions = encoded.regions
    assert regions.foreground is None and regions.iou is None
    plain = predictor.propose(encoded, ["cat", "dog"], max_boxes=1)
    _, scores = predictor.score(encoded, ["cat", "dog"])
    best = encoded.letterbox.to_original(regions.boxes)[scores.amax(1).argmax()]
    np.testing.assert_allclose(plain.xyxy[0], clip(best[None], *encoded.size)[0], atol=1e-3)
    # One box fits perfectly, whatever it holds.
    one = int(scores.amax(1).argmin())
    sure = torch.full_like(regions.localisation, -9.0)
    sure[one] = 9.0
    fitting = replace(encoded, regions=replace(regions, foreground=sure, iou=sure))
    first = predictor.propose(fitting, ["cat", "dog"], max_boxes=1)
    wanted = encoded.letterbox.to_original(regions.boxes)[one]
    np.testing.assert_allclose(first.xyxy[0], clip(wanted[None], *encoded.size)[0], atol=1e-3)
    assert torch.equal(predictor.score(fitting, ["cat", "dog"])[1], scores)


def test_a_checkpoint_with_soft_suppression_says_so_and_lowers_what_overlaps(
    spread_model: DetCLIPv2, predictor: Predictor, photo: Image.Image, tmp_path: Path
) -> None:
    soft = copy.copy(spread_model)
    soft.serving = replace(spread_model.serving, soft_nms=0.5)
    assert fingerprint(soft) != fingerprint(spread_model)
    softened = Predictor(soft, device="cpu", cache_dir=tmp_path)
    seen = predictor.encode_image(photo)
    asked = {"threshold": 0.05, "max_boxes": 1000}
    hard = predictor.detect(seen, WORDS, **asked)
    found = softened.detect(seen, WORDS, **asked)
    assert 0 < len(found) <= len(hard)
    before = {
        (*box, kind): score
        for box, score, kind in zip(hard.xyxy.tolist(), hard.confidence, hard.class_id, strict=True)
    }
    ratios = [
        score / before[*box, kind]
        for box, score, kind in zip(
            found.xyxy.tolist(), found.confidence, found.class_id, strict=True
        )
    ]
    assert max(ratios) == 1 and min(ratios) < 0.9
    assert (np.diff(found.confidence) <= 0).all()
    best = [hard.confidence[hard.class_id == kind].max() for kind in set(hard.class_id)]
    kept = [found.confidence[found.class_id == kind].max() for kind in set(hard.class_id)]
    assert best == kept
    # Boxes of anything: nothing is lost, what overlaps comes later.
    many = softened.propose(seen, WORDS, max_boxes=1000)
    assert len(many) >= len(predictor.propose(seen, WORDS, max_boxes=1000))
    assert (np.diff(many.confidence) <= 0).all()
