"""Boxes for photos that have only a name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from detclipv2.assets import FOLDER
from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.predictor import Predictor
from train.data.readers.ov_mini import PSEUDO_BOXES, TAGGED, pseudo_boxed_samples
from train.nano import stages
from train.nano.pseudo_boxes import find_box, main, named_boxes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of class names with one photo of a cat among them."""
    root = tmp_path_factory.mktemp("data")
    for source in TAGGED:
        folder = root / source
        (folder / "images").mkdir(parents=True)
        tags = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        if source == "imagenet1k":
            shutil.copy(FOLDER / "demo" / "chelsea.jpg", folder / "images")
            tags = {
                "images": [{"id": 1, "file_name": "chelsea.jpg", "width": 451, "height": 300}],
                "annotations": [{"image_id": 1, "category_id": 1}],
                "categories": [{"id": 1, "name": "n0", "text": "tabby"}],
            }
        (folder / "tags.json").write_text(json.dumps(tags))
    return root


def test_a_cat_is_boxed_and_read_back_under_both_of_its_names(data: Path, tmp_path: Path) -> None:
    main(["nano", str(data), str(tmp_path / PSEUDO_BOXES)])
    (sample,), repeats = pseudo_boxed_samples(data, tmp_path)
    assert repeats == [1.0]
    assert sample.concepts == ("tabby", "cat")
    assert sample.labels.all() and not sample.exhaustive
    left, top, right, bottom = sample.boxes[0]
    # Both of its eyes and its nose, at least.
    assert 0 <= left < 100 and 200 < right <= 451 and 0 <= top < 100 and 180 < bottom <= 300
    assert Path(sample.image) == data / "imagenet1k" / "images" / "chelsea.jpg"


def test_two_rankings_that_disagree_give_no_box(data: Path) -> None:
    predictor = Predictor(load_checkpoint("nano"), device="cpu")
    encoded = predictor.encode_image(FOLDER / "demo" / "chelsea.jpg")
    similar = torch.full((len(encoded.regions.boxes),), 0.1)
    far = encoded.regions.boxes[:, 0].argmax(), encoded.regions.boxes[:, 2].argmin()
    objectness = torch.zeros_like(similar).index_fill(0, far[0], 1)
    assert encoded.regions.foreground is not None
    regions = dataclasses.replace(
        encoded.regions,
        localisation=torch.full_like(similar, -9).index_fill(0, far[1], 9),
        foreground=objectness.logit(1e-6),
        iou=torch.zeros_like(similar),
    )
    assert find_box(dataclasses.replace(encoded, regions=regions), similar) is None
    agreed = dataclasses.replace(regions, localisation=regions.foreground)
    box = find_box(dataclasses.replace(encoded, regions=agreed), similar)
    assert box is not None and box.shape == (4,)


def test_no_photo_gives_an_empty_file(data: Path) -> None:
    predictor = Predictor(load_checkpoint("nano"), device="cpu")
    assert named_boxes(predictor, [], data)["images"] == []


def test_a_run_without_the_boxes_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m train.nano.pseudo_boxes CHECKPOINT"):
        pseudo_boxed_samples(tmp_path, tmp_path)


def test_the_stream_teaches_names_not_places() -> None:
    stream = stages.pseudo_boxes().streams[-1]
    assert stream.name == "named" and not stream.task.localise  # type: ignore[union-attr]
