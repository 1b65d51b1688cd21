"""Many photos, many threads, broken photos: what the Predictor does with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from detclipv2.inference.images import ImageError
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import VocabularyError
from detclipv2.model import DetCLIPv2
from tests.inference.same import WORDS, same


def test_predict_many_takes_one_picture_at_a_time(predictor: Predictor, photo: Image.Image) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Image.Image]:
        while True:
            taken.append(len(taken))
            yield photo

    results = predictor.predict_many(endless(), ["taxi"], threshold=0.1)
    assert taken == []
    for count in (1, 2, 3):
        source, detections = next(results)
        assert source is photo
        assert len(taken) == count
        same(detections, predictor.predict(photo, ["taxi"], threshold=0.1))


def test_predict_many_checks_its_arguments_at_once(predictor: Predictor) -> None:
    with pytest.raises(VocabularyError):
        predictor.predict_many([], "")
    with pytest.raises(ValueError, match="nms_iou"):
        predictor.predict_many([], ["cat"], nms_iou=3)


def test_a_broken_picture_stops_the_run_or_is_reported(
    predictor: Predictor, photo_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    images = [photo_file, broken, photo_file]
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        list(predictor.predict_many(images, ["taxi"]))
    reported: list[tuple[Path, ImageError]] = []
    results = predictor.predict_many(
        images, ["taxi"], on_error=lambda image, error: reported.append((image, error))
    )
    assert [source for source, _ in results] == [photo_file, photo_file]
    assert [image for image, _ in reported] == [broken]
    assert isinstance(reported[0][1], ImageError)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("", "empty"), ([], "empty"), ("!shadow", "only negatives"), (["cat", "Cat"], "repeats")],
)
def test_prompts_that_find_nothing_are_refused_before_the_image_runs(
    predictor: Predictor, photo: Image.Image, prompts: str | list[str], message: str
) -> None:
    before = predictor.image_passes
    with pytest.raises(VocabularyError, match=message):
        predictor.predict(photo, prompts)
    assert predictor.image_passes == before


def test_threads_get_the_answers_of_a_single_one(predictor: Predictor, photo: Image.Image) -> None:
    photos = [photo, photo.rotate(90, expand=True), photo.resize((50, 90))]
    vocabularies = [["taxi"], WORDS, "oil, new word\n!shadow"]
    expected = [predictor.predict(p, v, threshold=0.1) for p in photos for v in vocabularies]
    failures: list[BaseException] = []
    before = predictor.image_passes

    def work() -> None:
        try:
            found = [predictor.predict(p, v, threshold=0.1) for p in photos for v in vocabularies]
            for one, other in zip(found, expected, strict=True):
                same(one, other)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert predictor.image_passes - before == 4 * 9


def test_construction_checks_device_threads_and_share(spread_model: DetCLIPv2) -> None:
    with pytest.raises(ValueError, match="'warp' cannot be used here"):
        Predictor(spread_model, device="warp")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda' cannot be used here"):
            Predictor(spread_model, device="cuda")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Predictor(spread_model, threads=0)
    with pytest.raises(ValueError, match="anchor_share"):
        Predictor(spread_model, anchor_share=0)


def test_the_model_is_put_into_evaluation_and_its_threads_set(
    spread_model: DetCLIPv2, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    spread_model.train()
    predictor = Predictor(spread_model, threads=1, cache_dir=tmp_path)
    try:
        assert not predictor.model.training
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
