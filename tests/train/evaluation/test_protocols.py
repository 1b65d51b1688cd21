"""COCO, LVIS and ODinW from files to figures, with detectors that know the truth and real ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from tests.detectors.transformers_models import save_detector
from tests.processes import finish, start, two
from tests.train.conftest import COLOURS, draw_set
from tests.train.evaluation.dying import evaluate_and_die
from train import evaluate
from train.data.readers.coco import read_truth
from train.data.readers.odinw import clean_name, read_odinw, read_odinw_truth
from train.evaluation import protocols
from train.evaluation.detector_sweep import Sweep
from train.evaluation.protocols import OdinwSet, read_sets
from train.evaluation.zero_shot import zero_shot_boxes


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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_set(tmp_path_factory.mktemp("protocols") / "drawn", count=10)


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


def command(drawn: Path, checkpoint: Path, out: Path, *more: str) -> list[str]:
    return [
        str(checkpoint),
        "--protocol",
        "coco",
        "--annotations",
        str(drawn),
        "--images",
        str(drawn.parent / "images"),
        "--size",
        "256",
        "--threads",
        "1",
        "--out",
        str(out),
        *more,
    ]


@pytest.fixture(scope="module")
def expected(
    drawn: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The tiny checkpoint's figures, found without a stop."""
    out = tmp_path_factory.mktemp("whole") / "figures.json"
    evaluate.main(command(drawn, tiny_checkpoint, out))
    assert not out.with_suffix(".rows").exists()
    figures: dict[str, Any] = json.loads(out.read_text())
    assert figures["settings"]["size"] == 256 and figures["settings"]["boxes"] == 100
    assert figures["coco"]["ar100"]["all"] > 0 and figures["coco"]["large"] is None
    return figures


def test_a_killed_evaluation_goes_on_to_equal_figures(
    drawn: Path, tiny_checkpoint: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    arguments = command(drawn, tiny_checkpoint, out, "--keep-rows")
    said = tmp_path / "said"
    killed = start(evaluate_and_die, arguments, 5, log=said)
    killed.join()
    assert killed.exitcode == -9 and not out.exists(), said.read_text()
    (index,) = out.with_suffix(".rows").glob("*/rank000.index")
    assert index.stat().st_size == 4 * 16
    evaluate.main(arguments)
    assert index.stat().st_size == 10 * 16
    assert json.loads(out.read_text())["coco"] == expected["coco"]


def test_two_processes_find_the_same_figures(
    drawn: Path, tiny_checkpoint: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    said = tmp_path / "said"
    words = command(drawn, tiny_checkpoint, out, "--keep-rows")
    finish(start(two, evaluate.main, words, log=said), said)
    assert json.loads(out.read_text())["coco"] == expected["coco"]
    sizes = [f.stat().st_size for f in sorted(out.with_suffix(".rows").glob("*/*.index"))]
    assert sizes == [5 * 16, 5 * 16]


def test_a_transformers_detector_takes_the_same_way(drawn: Path, tmp_path: Path) -> None:
    folder = save_detector("owlv2", tmp_path)
    out = tmp_path / "figures.json"
    told = ["--detector", f"transformers:{folder}", *command(drawn, folder, out)[1:]]
    told = [word for word in told if word not in ("--size", "256")]
    evaluate.main(told)
    figures = json.loads(out.read_text())
    assert figures["settings"]["detector"] == "owlv2" and figures["settings"]["floor"] == 0.0001
    assert figures["coco"]["ar100"]["all"] > 0
    with pytest.raises(SystemExit, match="--definitions: definitions are for"):
        evaluate.main([*told, "--definitions"])


def test_definitions_are_asked_for(
    drawn: Path, tiny_checkpoint: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    evaluate.main(command(drawn, tiny_checkpoint, out, "--definitions"))
    figures = json.loads(out.read_text())
    assert figures["settings"]["definitions"] and figures["coco"] != expected["coco"]
    assert set(figures["coco"]["ap50_by_class"]) == set(COLOURS)


def test_a_checkpoint_that_was_taught_definitions_is_asked_with_them(
    drawn: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model = load_checkpoint(tiny_checkpoint)
    text = dataclasses.replace(model.config.text, definitions=True)
    model.config = dataclasses.replace(model.config, text=text)
    save_checkpoint(model, tmp_path / "taught")
    said = {}
    for name, more in (("taught", []), ("told", ["--definitions"]), ("not", ["--no-definitions"])):
        source = tiny_checkpoint if name == "told" else tmp_path / "taught"
        out = tmp_path / f"{name}.json"
        evaluate.main(command(drawn, source, out, *more))
        said[name] = json.loads(out.read_text())
    assert [said[n]["settings"]["definitions"] for n in said] == [True, True, False]
    assert said["taught"]["coco"] == said["told"]["coco"] != said["not"]["coco"]
    # The figures that steer training ask in the same way.
    predictor = Predictor(load_checkpoint(tmp_path / "taught"), cache_dir=tmp_path)
    found, _ = zero_shot_boxes(predictor, read_truth(drawn), drawn.parent / "images", size=256)
    assert found.ap50_by_class == said["taught"]["coco"]["ap50_by_class"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], "give a checkpoint"),
        (["nano"], "OV-mini needs its folder"),
        (["nano", "--protocol", "coco", "--images", "x"], "coco needs --annotations"),
        (["nano", "--protocol", "odinw"], "odinw needs --config"),
        (["nano", "data", "more"], "'more' is too much"),
    ],
)
def test_wrong_commands_say_what_is_missing(
    told: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(told)
    assert message in capsys.readouterr().err
