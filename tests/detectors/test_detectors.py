"""Transformers' detectors behind our protocol, as tiny models with random weights.

What the models' own post-processing says is the measure of boxes and scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detclipv2.detectors.protocol import Detector
from detclipv2.detectors.transformers_detector import TransformersDetector
from detclipv2.fingerprint import fingerprint
from detclipv2.geometry.boxes import clip
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from tests.detectors.transformers_models import BUILDERS, grounding_dino, save_detector, spread

WORDS = ["dog", "Red Box", "cat", "a red dog", "box", "zebra"]


@pytest.fixture(scope="module", params=BUILDERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub has it; its name is the family's."""
    return save_detector(request.param, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def detector(saved: Path) -> TransformersDetector:
    return TransformersDetector.from_pretrained(saved, device="cpu")


def _own(detector: TransformersDetector, photo: Image.Image, words: list[str]) -> dict[str, Any]:
    """Boxes and scores by the model's own processor, every box with its best class."""
    processor, model = detector._processor, detector._model
    with torch.inference_mode():
        kwargs = {"padding": "max_length", "max_length": 16} if "owl" in detector.name else {}
        inputs = processor(images=photo, text=words, return_tensors="pt", **kwargs)
        outputs = model(**inputs)
        sizes = [(photo.height, photo.width)]
        found = processor.post_process_grounded_object_detection(
            outputs, threshold=0.0, target_sizes=torch.tensor(sizes)
        )[0]
    return {
        "boxes": found["boxes"],
        "scores": found["scores"],
        "outputs": outputs,
        "labels": found["labels"],
        "input_ids": inputs.get("input_ids"),
    }


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_land_in_the_originals_pixels(
    detector: TransformersDetector, photo: Image.Image, turned: bool
) -> None:
    picture = photo.rotate(90, expand=True) if turned else photo
    boxes, scores = detector.score(detector.encode_image(picture), WORDS[:3])
    if detector.name == "omdet-turbo":
        # its own post-processing suppresses boxes; the raw ones are shares of the picture
        out = _own(detector, picture, WORDS[:3])["outputs"]
        x, y, w, h = out.decoder_coord_logits[0].unbind(-1)
        expected = torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1)
        expected = expected * torch.tensor([*picture.size, *picture.size])
    else:
        expected = _own(detector, picture, WORDS[:3])["boxes"]
    torch.testing.assert_close(boxes, clip(expected, *picture.size), rtol=1e-4, atol=1e-3)
    assert scores.shape == (len(boxes), 3) and ((scores >= 0) & (scores <= 1)).all()

    found = detector.detect(detector.encode_image(picture), WORDS[:3], threshold=0, nms_iou=1)
    width, height = picture.size
    assert len(found) and (found.xyxy >= 0).all()
    assert (found.xyxy <= [width, height, width, height]).all()


def test_scores_are_the_models_own(detector: TransformersDetector, photo: Image.Image) -> None:
    words = ["cat", "dog"]
    _, scores = detector.score(detector.encode_image(photo), words)
    own = _own(detector, photo, words)
    if detector.name.startswith("owl"):
        torch.testing.assert_close(scores.max(1).values, own["scores"])
        assert torch.equal(scores.argmax(1), own["labels"])
    elif detector.name == "omdet-turbo":
        torch.testing.assert_close(scores, own["outputs"].decoder_class_logits[0].sigmoid())
    else:
        # [CLS] cat . dog . [SEP]
        torch.testing.assert_close(scores, own["outputs"].logits[0, :, [1, 3]].sigmoid())
    assert scores.std() > 1e-4


def test_class_ids_index_the_callers_list(
    detector: TransformersDetector, photo: Image.Image
) -> None:
    encoded = detector.encode_image(photo)
    boxes, scores = detector.score(encoded, WORDS)
    assert scores.shape[1] == len(WORDS) and (scores.amax(0) > 0).all()
    found = detector.detect(encoded, WORDS, threshold=0.0, nms_iou=1, max_boxes=10_000)
    assert [WORDS[i] for i in found.class_id] == found.data["class_name"].tolist()
    for box, score, k in zip(found.xyxy, found.confidence, found.class_id, strict=True):
        same = (boxes - torch.from_numpy(box)).abs().amax(1) < 1e-3
        assert np.isclose(scores[same, k], score, atol=1e-6).any()
    best = int(scores.amax(0).argmax())
    assert found.class_id[0] == best


def test_aliases_and_negatives_work_as_in_our_model(
    detector: TransformersDetector, photo: Image.Image
) -> None:
    encoded = detector.encode_image(photo)
    boxes, scores = detector.score(encoded, ["pet", "cat", "dog"])
    width, height = photo.size  # OWLv2 has boxes below the picture, too
    scores = scores[(boxes[:, 0] < width) & (boxes[:, 1] < height) & (boxes[:, 2:] > 0).all(1)]
    pets = detector.candidates(encoded, "pet: cat, dog", floor=0.0)
    assert set(pets.classes.tolist()) == {0}
    torch.testing.assert_close(pets.scores, scores.amax(1).sort(descending=True).values)
    # the order in the sentence is that of the texts: returned classes, then negatives
    rivals = detector.candidates(encoded, "pet, cat, !dog", floor=0.0)
    wins = (scores[:, :2] >= scores[:, 2:]).sum()
    assert 0 < len(rivals.scores) == int(wins) < 2 * len(scores)


def test_a_picture_is_encoded_once(detector: TransformersDetector, photo_file: Path) -> None:
    before = detector.image_passes
    encoded = detector.encode_image(photo_file)
    one = detector.detect(encoded, ["cat"], threshold=0.0)
    detector.detect(encoded, ["dog", "zebra"], threshold=0.0)
    again = detector.detect(encoded, ["cat"], threshold=0.0)
    assert detector.image_passes == before + 1
    np.testing.assert_allclose(one.xyxy, again.xyxy, atol=1e-4)
    proposals = detector.propose(encoded, WORDS, max_boxes=5)
    assert 0 < len(proposals) <= 5 and proposals.class_id is None
    assert (np.diff(proposals.confidence) <= 0).all()


def test_fingerprints_follow_the_weights(saved: Path, detector: TransformersDetector) -> None:
    other = TransformersDetector.from_pretrained(saved, device="cpu")
    assert other.fingerprint == detector.fingerprint and other.name == saved.name
    with torch.no_grad():
        next(other._model.parameters()).add_(1)
    assert other.fingerprint == detector.fingerprint  # kept once asked for
    changed = TransformersDetector(other._model, other._processor, name="x", device="cpu")
    assert changed.fingerprint != detector.fingerprint


def test_sizes_and_strange_models_are_refused(
    detector: TransformersDetector, photo: Image.Image, tiny_model: DetCLIPv2
) -> None:
    with pytest.raises(ValueError, match="leave out size=64"):
        detector.encode_image(photo, 64)
    from transformers import BertConfig, BertModel

    bert = BertModel(
        BertConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            vocab_size=9,
        )
    )
    with pytest.raises(ValueError, match="'bert' are not known; known are owlvit"):
        TransformersDetector(bert, None, name="bert")


def test_grounding_dino_finds_its_words_by_their_place(tmp_path: Path, photo: Image.Image) -> None:
    torch.manual_seed(0)
    model, processor = grounding_dino(tmp_path, "")
    detector = TransformersDetector(spread(model), processor, name="dino", device="cpu")
    # "red" stands in three names and "st. bernard" has the sign that keeps names apart.
    words = ["red box", "red", "st. bernard", "RED dog", "?"]
    sentences = detector._family.words(words)
    names = []
    for sentence in sentences:
        ids = sentence.tokens["input_ids"][0]
        assert len(ids) <= model.config.max_text_len
        for share in sentence.shares:
            assert share.sum() == pytest.approx(1) or not share.any()
            names.append(processor.tokenizer.decode(ids[share > 0]))
    assert names == ["red box", "red", "st bernard", "red dog", ""]
    many = [f"{a} {b}" for a in ("red", "blue", "green") for b in ("dog", "cat", "box", "cup")]
    assert len(detector._family.words(many)) > 1
    encoded = detector.encode_image(photo)
    boxes, scores = detector.score(encoded, many)
    assert scores.shape == (12 * len(detector._family.words(many)), len(many))
    first = detector.score(encoded, many[: sum(scores[0] > 0)])
    torch.testing.assert_close(first[0], boxes[:12], rtol=1e-4, atol=1e-3)


def test_our_predictor_is_such_a_detector(predictor: Predictor, photo: Image.Image) -> None:
    detector: Detector[Any] = predictor
    assert detector.name == "tiny" and detector.fingerprint == fingerprint(predictor.model)
    encoded = detector.encode_image(photo)
    boxes, scores = detector.score(encoded, ["cat", "dog", "cat"])
    assert torch.equal(scores[:, 0], scores[:, 2])
    found = Predictor(predictor.model, device="cpu", anchor_share=1).detect(
        encoded, ["cat", "dog"], threshold=0.05, nms_iou=1, max_boxes=1000
    )
    best = boxes[scores[:, :2].amax(1).argmax()].clamp(min=0)
    np.testing.assert_allclose(
        found.xyxy[0], best.minimum(torch.tensor([100.0, 60, 100, 60])), atol=1e-3
    )
    assert found.confidence[0] == pytest.approx(float(scores[:, :2].max()), abs=1e-5)
    proposals = detector.propose(encoded, ["cat", "dog"], max_boxes=7)
    assert len(proposals) == 7
    assert proposals.confidence[0] == pytest.approx(float(scores[:, :2].max()), abs=1e-6)
