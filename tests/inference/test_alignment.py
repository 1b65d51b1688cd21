"""What the inspector shows is what training computes, and it can say "not here"."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import detclipv2
from detclipv2 import PRESETS
from detclipv2.inference.alignment import Alignment, AlignSettings
from detclipv2.inference.distractors import DISTRACTORS, distractors_for
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.predictor import Predictor
from detclipv2.language.phrases import Phrase
from detclipv2.learning.alignment import text_image_similarity
from detclipv2.learning.proposals import OBJECTNESS
from detclipv2.model import DetCLIPv2
from train.loop.distributed import Replica, World
from train.tasks.pairs import PairsTask, Words, keep
from train.tasks.pairs_config import PairsConfig

CAPTION = "A red mug beside two dogs on the old sofa"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    torch.manual_seed(0)
    model = DetCLIPv2(dataclasses.replace(PRESETS["tiny"], quality=True)).eval()
    with torch.no_grad():
        model.bias.fill_(0.5)
    return Predictor(model, device="cpu", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def encoded(predictor: Predictor, photo: Image.Image) -> EncodedImage:
    return predictor.encode_image(photo)


def test_a_caption_gives_phrases_with_their_places(
    predictor: Predictor, encoded: EncodedImage
) -> None:
    aligned = predictor.align(encoded, CAPTION, whole=True)
    assert isinstance(aligned, detclipv2.Alignment)
    assert aligned.phrases[-1] == CAPTION
    assert "A red mug" in aligned.phrases
    for text, span in zip(aligned.phrases, aligned.spans, strict=True):
        assert span is not None
        assert CAPTION[slice(*span)] == text
    regions, phrases = aligned.scores.shape
    assert aligned.boxes.shape == (regions, 4)
    assert phrases == len(aligned.phrases)
    width, height = encoded.size
    assert (aligned.boxes >= 0).all()
    assert (aligned.boxes <= torch.tensor([width, height, width, height])).all()
    assert set(aligned.levels.tolist()) <= {3, 4, 5, 6, 7}


@pytest.mark.parametrize("kind", OBJECTNESS)
@pytest.mark.parametrize("matching", ["max", "softmax"])
def test_scores_and_similarity_are_those_of_the_training_loss(
    predictor: Predictor, encoded: EncodedImage, kind: str, matching: str
) -> None:
    settings = AlignSettings(matching=matching, temperature=0.3, objectness=kind, regions=20)  # type: ignore[arg-type]
    aligned = predictor.align(encoded, ["a red mug", "two dogs"], settings)

    # The same photo and texts through the task's own steps, the distractors as another's texts.
    texts = (*aligned.phrases, *distractors_for(aligned.phrases))
    device = torch.device("cpu")
    words = Words(texts, torch.arange(2), torch.zeros(2, dtype=torch.long), ("photo",))
    config = PairsConfig(
        k=20,
        objectness=kind,
        matching=matching,
        match_temperature=0.3,
        caption=False,  # type: ignore[arg-type]
    )
    task = PairsTask(Replica(predictor.model, World()), predictor.model.config, list, config)
    embedded = predictor.model.words(predictor.encode_texts(texts))
    regions = encoded.regions
    batch = dataclasses.replace(
        regions,
        boxes=regions.boxes[None],
        embeddings=regions.embeddings[None],
        centerness=regions.centerness[None],
        localisation=regions.localisation[None],
        foreground=regions.foreground[None],
        iou=regions.iou[None],  # type: ignore[index]
    )
    with torch.no_grad():
        chosen, present = task._choose(batch, embedded, predictor.model.bias, words, 0, 1)
        kept = keep(batch, chosen)
        similarity = text_image_similarity(
            kept,
            present,
            embedded[:2],
            torch.zeros(2, dtype=torch.long, device=device),
            1,
            matching=config.matching,
            temperature=config.match_temperature,
        )
        boxes = encoded.letterbox.to_original(regions.boxes[chosen[0]])
    scores = (kept[0] @ embedded[:2].T)[present[0]]
    torch.testing.assert_close(aligned.scores, scores, atol=1e-5, rtol=0)
    assert aligned.similarity == pytest.approx(float(similarity), abs=1e-5)
    inside = ((boxes >= 0) & (boxes <= torch.tensor([100, 60, 100, 60]))).all(dim=1) & present[0]
    torch.testing.assert_close(aligned.boxes[inside[present[0]]], boxes[inside])


def test_matching_takes_one_region_or_all(predictor: Predictor, encoded: EncodedImage) -> None:
    one = predictor.align(encoded, ["a mug", "a dog"])
    assert one.weights.sum(0).tolist() == [1, 1]
    assert (one.weights > 0).sum().item() == 2
    for phrase, region in enumerate(one.best.tolist()):
        assert one.scores[region, phrase] == one.scores[:, phrase].max()
        assert one.matches[phrase] == one.scores[region, phrase]
    soft = predictor.align(
        encoded, ["a mug", "a dog"], AlignSettings(matching="softmax", temperature=1.0)
    )
    assert (soft.weights > 0).all()
    assert (soft.matches < one.matches).all()


def test_a_phrase_can_be_absent(predictor: Predictor, encoded: EncodedImage) -> None:
    aligned = predictor.align(encoded, ["a mug", "a dog"])
    lowest, highest = sorted(aligned.evidence.tolist())
    middle = (lowest + highest) / 2
    assert sorted(aligned.present(middle).tolist()) == [False, True]
    assert aligned.present(lowest - 1).all()
    # A distractor among the phrases is no null of its own.
    assert "a zebra" not in distractors_for(["a striped zebra"])
    assert set(distractors_for(["a red mug"])) == set(DISTRACTORS)


def test_the_maps_hold_every_anchors_similarity(
    predictor: Predictor, encoded: EncodedImage
) -> None:
    phrases = ["a mug", "a dog", "the sea"]
    maps = predictor.similarity_maps(encoded, phrases)
    flat = torch.cat([m.flatten(1) for m in maps], dim=1)
    with torch.no_grad():
        words = predictor.model.words(predictor.encode_texts(phrases))
    expected = encoded.regions.embeddings.numpy() @ words.numpy().T
    torch.testing.assert_close(flat.T, torch.from_numpy(expected), atol=1e-5, rtol=0)
    width, height = encoded.letterbox.padded
    assert maps[0].shape == (3, height // 8, width // 8)


def test_one_look_serves_many_captions(predictor: Predictor, photo: Image.Image) -> None:
    encoded = predictor.encode_image(photo)
    before = predictor.image_passes
    for caption in ("a dog", "two cats on a mat", "the blue car"):
        predictor.align(encoded, caption)
    assert predictor.image_passes == before
    predictor.align(photo, ["a dog"])
    assert predictor.image_passes == before + 1


def test_json_says_everything(predictor: Predictor, encoded: EncodedImage) -> None:
    aligned = predictor.align(encoded, CAPTION, AlignSettings(regions=5))
    told = json.loads(json.dumps(aligned.to_json()))
    torch.testing.assert_close(torch.tensor(told["scores"]), aligned.scores)
    assert told["phrases"][0]["region"] == int(aligned.best[0])
    assert told["caption"] == CAPTION
    assert len(told["boxes"]) == len(aligned.boxes) <= 5


@pytest.mark.parametrize(
    ("words", "message"), [([], "no phrases"), ("", "no phrases"), (["a dog", " "], "empty")]
)
def test_nothing_to_align_is_said(
    predictor: Predictor, encoded: EncodedImage, words: str | list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.align(encoded, words)


def test_a_branch_that_is_missing_is_said(
    tiny_model: DetCLIPv2, photo: Image.Image, tmp_path: Path
) -> None:
    bare = Predictor(tiny_model, device="cpu", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="iou branch"):
        bare.align(photo, ["a dog"], AlignSettings(objectness="iou"))


@pytest.mark.parametrize(
    "wrong", [{"matching": "both"}, {"temperature": 0}, {"objectness": "luck"}, {"regions": 0}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        AlignSettings(**wrong)  # type: ignore[arg-type]


def test_given_phrases_keep_their_spans(predictor: Predictor, encoded: EncodedImage) -> None:
    aligned: Alignment = predictor.align(
        encoded, [Phrase("red mug", (2, 9)), Phrase("a kite")], caption=CAPTION
    )
    assert aligned.spans == ((2, 9), None)
