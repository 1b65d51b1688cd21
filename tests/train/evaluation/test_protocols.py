"""COCO, LVIS and ODinW from files to figures, with detectors that know the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch

from detclipv2.language.vocabulary import Vocabulary
from tests.train.conftest import COLOURS
from train.data.readers.odinw import clean_name, read_odinw, read_odinw_truth
from train.evaluation import protocols
from train.evaluation.detector_sweep import Sweep
from train.evaluation.protocols import OdinwSet, read_sets


class Oracle:
    """Says what the annotations say, under the words it is asked for."""

    name, fingerprint, device = "oracle", "0", torch.device("cpu")

    def __init__(self, *files: Path, words: dict[str, str] | None = None) -> None:
        """`words`: a class's name in the file → the prompt it answers to."""
        self.asked: list[str] = []
        self.known: dict[str, list[tuple[list[float], str]]] = {}
        for file in files:
            data = json.loads(file.read_text())
            names = {c["id"]: c.get("text") or c["name"] for c in data["categories"]}
            for image in data["images"]:
                key = image.get("file_name") or image["coco_url"]
                self.known[Path(key).name] = [
                    (a["bbox"], (words or {}).get(names[a["category_id"]], names[a["category_id"]]))
                    for a in data["annotations"]
                    if a["image_id"] == image["id"]
                ]

    def encode_image(self, image: Any, size: int | None = None, tiles: int = 1) -> str:
        assert Path(image).is_file()
        return Path(image).name

    def detect(self, encoded: str, prompts: Vocabulary, **_: Any) -> sv.Detections:
        self.asked = list(prompts.names)
        rows = [(b, self.asked.index(n)) for b, n in self.known[encoded] if n in self.asked]
        return self._boxes([b for b, _ in rows], [k for _, k in rows])

    def propose(self, encoded: str, prompts: Vocabulary, *, max_boxes: int) -> sv.Detections:
        return self._boxes([b for b, _ in self.known[encoded]], None)

    def _boxes(self, xywh: list[list[float]], kinds: list[int] | None) -> sv.Detections:
        boxes = np.array(xywh, dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        kind = None if kinds is None else np.array(kinds, dtype=int)
        return sv.Detections(boxes, confidence=np.full(len(boxes), 0.5), class_id=kind)


def rewrite(file: Path, target: Path, **changes: Any) -> Path:
    """A copy of an annotation file with `images`, `categories`, … put through functions."""
    data = json.loads(file.read_text())
    for key, change in changes.items():
        data[key] = [change(entry) for entry in data[key]]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(data))
    return target


def test_coco_figures_of_what_is_right_and_what_is_misnamed(drawn: Path) -> None:
    right = protocols.coco(Oracle(drawn), drawn, drawn.parent / "images", Sweep())  # type: ignore[arg-type]
    assert right is not None
    assert right["coco"]["ap"] == pytest.approx(100)
    assert right["coco"]["ar100"]["all"] == pytest.approx(100)
    swap = {"red box": "green box", "green box": "red box"}
    wrong = protocols.coco(
        Oracle(drawn, words=swap),
        drawn,
        drawn.parent / "images",
        Sweep(proposals=10),  # type: ignore[arg-type]
    )
    assert wrong is not None and "ar100" not in wrong["coco"]
    by_class = wrong["coco"]["ap50_by_class"]
    assert by_class["blue box"] == pytest.approx(100) and by_class["red box"] == 0
    text = protocols.table(right)
    assert "| COCO AP | 100.0 |" in text and "| COCO class-agnostic AR@100 | 100.0 |" in text


def test_lvis_finds_photos_by_address_and_asks_for_words(drawn: Path, tmp_path: Path) -> None:
    nested = tmp_path / "images" / "val2017"
    nested.mkdir(parents=True)
    (tmp_path / "images" / "train2017").mkdir()
    for photo in (drawn.parent / "images").iterdir():
        (nested / photo.name).write_bytes(photo.read_bytes())
    moved = next(nested.iterdir())
    moved.rename(tmp_path / "images" / "train2017" / moved.name)

    def image(entry: dict[str, Any]) -> dict[str, Any]:
        name = entry.pop("file_name")
        folder = "train2017" if name == moved.name else "val2017"
        return {
            **entry,
            "coco_url": f"http://images.test/{folder}/{name}",
            "neg_category_ids": [1],
            "not_exhaustive_category_ids": [],
        }

    def category(entry: dict[str, Any]) -> dict[str, Any]:
        name = entry.pop("text").replace(" ", "_")
        return {**entry, "name": name, "frequency": "r" if entry["id"] == 1 else "f"}

    file = rewrite(drawn, tmp_path / "lvis.json", images=image, categories=category)
    words = {name.replace(" ", "_"): name for name in COLOURS}
    oracle: Any = Oracle(file, words=words)
    figures = protocols.lvis_both(oracle, file, tmp_path / "images", Sweep(proposals=1000))
    assert figures is not None and oracle.asked == list(COLOURS)
    for kind in ("fixed", "ordinary"):
        assert figures["lvis"][kind]["ap"] == pytest.approx(100)
        assert figures["lvis"][kind]["rare"] == pytest.approx(100)
        assert np.isnan(figures["lvis"][kind]["common"])
    assert figures["lvis"]["ar1000"]["all"] == pytest.approx(100)
    text = protocols.table(figures)
    assert "| LVIS fixed APr | 100.0 |" in text and "LVIS class-agnostic AR@1000, small" in text

    def enrich(names: Sequence[str]) -> list[str]:
        return [f"{name}, {'a' * 300}" for name in names]

    protocols.lvis_both(oracle, file, tmp_path / "images", Sweep(), enrich)
    assert oracle.asked[0].startswith("red box, aaa") and len(oracle.asked[0]) == 200


@pytest.fixture
def odinw(drawn: Path, tmp_path: Path) -> Path:
    """Two sets as Roboflow exports them; the second boxes its category 0."""
    parent = {"id": 0, "name": "boxes", "supercategory": "none"}
    for name in ("Boxes Set", "zero"):
        folder = tmp_path / "odinw" / name / "test"
        folder.mkdir(parents=True)
        for photo in (drawn.parent / "images").iterdir():
            (folder / photo.name).write_bytes(photo.read_bytes())
        shift = name == "zero"
        file = rewrite(
            drawn,
            folder / "_annotations.coco.json",
            categories=lambda c, shift=shift: {
                "id": c["id"] - shift,
                "name": f"{c['name']}_-_box",
                "supercategory": "none"
                if shift and c["id"] == 1
                else "red_-_box"
                if shift
                else "boxes",
            },
            annotations=lambda a, shift=shift: {
                **a,
                "category_id": a["category_id"] - shift,
                "id": a["id"] - 1,
            },
        )
        if not shift:
            data = json.loads(file.read_text())
            file.write_text(json.dumps({**data, "categories": [parent, *data["categories"]]}))
    return tmp_path / "odinw"


def test_odinw_drops_the_supercategory_and_cleans_names(odinw: Path) -> None:
    assert clean_name("starfish_-_small") == "starfish small"
    truth, images = read_odinw_truth(odinw / "Boxes Set", prompts={"red_-_box": "a red square"})
    prompts = [c["text"] for c in truth["categories"]]
    assert prompts == ["a red square", "green box", "blue box"]
    assert images == odinw / "Boxes Set" / "test"
    truth, _ = read_odinw_truth(odinw / "zero")  # here category 0 has boxes
    assert [c["text"] for c in truth["categories"]] == list(COLOURS)
    samples = read_odinw(odinw / "zero", "test")
    assert {c for s in samples for c in s.concepts} == set(COLOURS)
    assert samples[0].image.is_file() and sum(len(s.boxes) for s in samples) == len(
        truth["annotations"]
    )
    with pytest.raises(FileNotFoundError, match="splits of zero: test"):
        read_odinw_truth(odinw / "zero", "valid")
    with pytest.raises(ValueError, match="no class cat; it has red_-_box"):
        read_odinw_truth(odinw / "zero", prompts={"cat": "dog"})


def test_odinw_is_the_mean_over_its_sets(odinw: Path) -> None:
    words = {f"{name.split()[0]}_-_box": name for name in COLOURS}
    files = [odinw / name / "test" / "_annotations.coco.json" for name in ("Boxes Set", "zero")]
    (odinw / "sets.json").write_text(
        json.dumps(
            [
                {"folder": "Boxes Set"},
                {"folder": "zero", "name": "misnamed", "prompts": {n: f"no {n}" for n in words}},
            ]
        )
    )
    (odinw / "sets.py").write_text(f"SETS = {json.loads((odinw / 'sets.json').read_text())!r}\n")
    sets = read_sets(odinw / "sets.json")
    assert sets == read_sets(odinw / "sets.py")
    assert sets[0] == OdinwSet("Boxes Set", odinw / "Boxes Set")
    oracle: Any = Oracle(*files, words=words)
    figures = protocols.odinw(oracle, sets, Sweep())
    assert figures is not None
    found = figures["odinw"]
    assert found["sets"]["Boxes Set"]["ap"] == pytest.approx(100)
    assert found["sets"]["misnamed"]["ap"] == 0 and found["mean"] == pytest.approx(50)
    assert "| mean AP of 2 sets | 50.0 |" in protocols.table(figures)
    for text in (
        "{}",
        "[]",
        '[{"folder": "zero", "colour": 1}]',
        '[{"name": "zero"}]',
        '[{"folder": "zero"}, {"folder": "zero"}]',
    ):
        (odinw / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json"):
            read_sets(odinw / "bad.json")
