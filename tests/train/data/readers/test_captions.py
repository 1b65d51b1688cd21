"""Image-text pairs: where captions, photos and class names come from, and which are left out."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.conftest import draw_set
from train.data.dropped import Dropped
from train.data.loader import Batches
from train.data.pictures import decode, storable_kind, upright_size
from train.data.readers import caption_phrases, ov_mini
from train.data.readers.caption_phrases import (
    caption_concepts,
    kept_caption_concepts,
    with_concepts,
)
from train.data.readers.captions import read_caption_table, read_captions
from train.data.readers.class_folders import class_name, read_class_folders
from train.data.readers.coco import read_coco
from train.data.sample import Sample, pair
from train.data.sampler import BatchConfig, Sampler
from train.data.transforms import Augmentation


def test_captions_become_pairs_one_by_one(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8, "split": "train"},
        {"id": 2, "file_name": "b.jpg", "split": "val"},
    ]
    rows = [
        {"image_id": 1, "caption": "A  dog\nruns ."},
        {"image_id": 1, "caption": "a puppy"},
        {"image_id": 2, "caption": "a cat"},
        {"image_id": 3, "caption": "nowhere"},
        {"image_id": 1, "caption": None},
        {"image_id": 1, "caption": " "},
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    dropped = Dropped()
    first, second = read_captions(path, split="train", dropped=dropped)
    assert (first.caption, second.caption) == ("A dog runs .", "a puppy")
    assert first.image == tmp_path / "images" / "a.jpg" and (first.width, first.height) == (9, 8)
    assert first.concepts == () and not first.exhaustive and first.boxes.shape == (0, 4)
    assert dropped.counts == {"a caption without text or image": 2, "an empty caption": 1}
    assert read_captions(path, split="val", dropped=dropped)[0].width == 0  # unknown
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"captions\.json is not in COCO's captions format"):
        read_captions(path)


def test_tables_of_either_order_find_local_photos(tmp_path: Path) -> None:
    (tmp_path / "example.org" / "deep").mkdir(parents=True)
    for name in ("one.jpg", "two 2.png", "example.org/deep/x"):
        (tmp_path / name).write_bytes(b"photo")
    table = tmp_path / "table.tsv"
    table.write_text(
        "a dog\tone.jpg\n"
        "http://example.org/a/two%202.png?size=3\t<PERSON> on stage\n"
        "a lake\thttps://example.org/deep/x\n"
        "caption\tphoto\n"
        "gone\thttp://example.org/gone.jpg\n"
        'a "quoted\tone.jpg\n'
        "\n"
        "one.jpg\n",
        encoding="utf-8",
    )
    dropped = Dropped()
    pairs = list(read_caption_table(table, tmp_path, dropped=dropped))
    assert [(p.caption, Path(p.name).name) for p in pairs] == [
        ("a dog", "one.jpg"),
        ("person on stage", "two 2.png"),
        ("a lake", "x"),
        ('a "quoted', "one.jpg"),
    ]
    assert dropped.counts == {
        "a line without caption and picture": 3,
        "a photo that is not in the folder": 1,
    }
    with pytest.raises(ValueError, match="nowhere is no folder"):
        list(read_caption_table(table, tmp_path / "nowhere"))


def test_class_folders_name_their_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("n01440764", "red_mug", "n99999999"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.JPEG").write_bytes(b"photo")
    (tmp_path / "red_mug" / "notes.txt").write_text("")
    with caplog.at_level(logging.WARNING):
        pairs = list(read_class_folders(tmp_path))
    assert [p.concepts for p in pairs] == [("tench",), ("red mug",)]
    assert "n99999999" in caplog.text and "notes.txt" in caplog.text
    assert class_name("n02084071") == "dog"  # of the 21,843, not of the thousand
    with pytest.raises(ValueError, match="has no folders"):
        list(read_class_folders(tmp_path / "red_mug"))


def test_noun_phrases_become_concepts() -> None:
    captions = ["A brown Dog chases the brown dog past it .", "", "The man's red hat, two cups"]
    first, empty, third = caption_concepts(captions)
    assert first == ("brown dog",) and empty == ()
    assert "two cups" in third
    assert [len(c) for c in caption_concepts(captions, most=1)] == [1, 0, 1]


def test_phrases_are_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "phrases.json"
    captions = ["a dog in the snow", "a cat", "a dog in the snow"]
    found = kept_caption_concepts(captions, file)
    assert found == [("dog", "snow"), ("cat",), ("dog", "snow")]
    assert kept_caption_concepts(captions, file, most=1)[0] == ("dog",)
    assert kept_caption_concepts(captions, file) == found  # not the shorter ones

    def refuse(*_: object) -> None:
        raise AssertionError("extracted again")

    with monkeypatch.context() as patch:
        patch.setattr(caption_phrases, "noun_phrases_of", refuse)
        assert kept_caption_concepts(["a cat"], file) == [("cat",)]
    file.write_text("damaged")
    assert kept_caption_concepts(captions, file) == found


def test_a_pair_gets_concepts_and_keeps_the_rest() -> None:
    sample = with_concepts(
        pair(b"x", caption="a cat", width=3, height=4, origin="o"), ["cat", "cat"]
    )
    assert sample.concepts == ("cat",) and sample.labels.shape == (0, 1)
    assert (sample.caption, sample.width, sample.image, sample.name) == ("a cat", 3, b"x", "o")


def _encoded(width: int, height: int, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_pictures_are_decoded_upright_from_files_and_memory(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = _encoded(40, 20, "JPEG", exif=exif)
    (tmp_path / "é.jpg").write_bytes(turned)
    for source in (turned, tmp_path / "é.jpg"):
        image = decode(source)
        assert image is not None and image.shape == (40, 20, 3)
        assert image[20, 10, 0] > 150 > image[20, 10, 2]  # RGB
    assert upright_size(turned) == (20, 40)
    assert storable_kind(turned) is None and storable_kind(_encoded(4, 4, "WEBP")) == "webp"
    assert decode(b"") is None and decode(b"nothing") is None and decode(tmp_path) is None
    with pytest.raises(ValueError, match="not a picture"):
        upright_size(b"nothing")


def _view_of(sample: Sample) -> tuple[tuple[str, ...], int]:
    sampler = Sampler([sample], [1.0], BatchConfig(batch=1, sizes=(64,)), seed=0)
    batches = Batches(
        [sample],
        sampler,
        Augmentation(scale=(1, 1), light=0),
        seed=0,
        fill=(0, 0, 0),
        most_concepts=5,
    )
    batch = batches[0]
    return batch.views[0].concepts, int(np.count_nonzero(batch.pixels))


def test_the_loader_takes_pictures_in_memory_of_unknown_size(
    caplog: pytest.LogCaptureFixture,
) -> None:
    concepts, lit = _view_of(pair(_encoded(96, 72, "PNG"), ("wall",)))
    assert concepts == ("wall",) and lit > 0
    with caplog.at_level(logging.WARNING):
        concepts, lit = _view_of(pair(b"broken", ("wall",), origin="a.tar: 7"))
        assert concepts == () and lit == 0
        _view_of(pair(_encoded(9, 9, "PNG"), ("wall",), width=8, height=8, origin="a.tar: 8"))
    assert "a.tar: 7: not readable" in caplog.text and "a.tar: 8: 9×9 pixels" in caplog.text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder laid out as OV-mini, with one photo of every kind to train on."""
    for seed, source in enumerate(ov_mini.BOXED):
        draw_set(tmp_path / source, count=2, seed=seed)
    for source in {*ov_mini.TAGGED, *ov_mini.CAPTIONED}:
        (tmp_path / source).mkdir()
    images = [
        {"id": i, "file_name": f"{i}.webp", "width": 9, "height": 9, "split": s}
        for i, s in enumerate(("train", "test"))
    ]
    for source in ov_mini.TAGGED:
        value = {
            "images": images,
            "categories": [{"id": 1, "name": "cup"}],
            "annotations": [{"image_id": i, "category_id": 1} for i in (0, 1)],
        }
        (tmp_path / source / "tags.json").write_text(json.dumps(value))
    for source in ov_mini.CAPTIONED:
        rows = [
            {"image_id": i, "caption": f"a {n} in the snow"} for i, n in enumerate(("dog", "cat"))
        ]
        value = {"images": images, "annotations": rows}
        (tmp_path / source / "captions.json").write_text(json.dumps(value))
    phrases = {
        "image_id": 0,
        "caption": "",
        "phrases": [{"phrase": "a dog", "boxes": [[0, 0, 5, 5]]}],
    }
    grounding = {"images": images, "captions": [phrases]}
    (tmp_path / "flickr8k" / "grounding.json").write_text(json.dumps(grounding))
    return tmp_path


def test_ov_mini_gives_three_kinds_of_data_of_the_train_splits(root: Path, tmp_path: Path) -> None:
    boxes, repeats = ov_mini.detection_samples(root)
    assert len(boxes) == len(repeats) == 2 * len(ov_mini.BOXED) and set(repeats) == set(
        ov_mini.BOXED.values()
    )
    assert sum(not s.exhaustive for s in boxes) == 2 * len(ov_mini.SPARSE)
    phrases, _ = ov_mini.grounding_samples(root)
    assert [s.concepts for s in phrases] == [("dog",)]
    pairs, weights = ov_mini.pair_samples(root, tmp_path / "run")
    assert len(pairs) == len(weights) == len(ov_mini.CAPTIONED) + len(ov_mini.TAGGED)
    assert {(s.caption, s.concepts) for s in pairs} == {
        ("a dog in the snow", ("dog", "snow")),
        (None, ("cup",)),
    }
    assert (tmp_path / "run" / "caption_phrases.json").is_file()
    together, _ = ov_mini.boxed_samples(root)
    assert [s.name for s in together] == [s.name for s in phrases + boxes]
    shutil.rmtree(root / "weapons")
    with pytest.raises(FileNotFoundError, match="weapons"):
        ov_mini.detection_samples(root)


def test_a_sample_may_be_changed_with_replace(drawn_set: Path) -> None:
    sample = read_coco(drawn_set)[0]
    assert replace(sample, image=b"x", origin="here").name == "here"
    assert replace(sample, image=b"x").name == "a picture in memory"
    assert "x" * 50 not in repr(replace(sample, image=b"x" * 50))
