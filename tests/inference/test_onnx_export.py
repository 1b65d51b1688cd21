"""The ONNX file, run by ONNX Runtime, against `Predictor.predict`."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import supervision as sv
from PIL import Image

from app.cli import main
from detclipv2.config import ImageConfig
from detclipv2.inference.images import letterbox
from detclipv2.inference.onnx_export import ExportError, _Detector, export_onnx
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.model import DetCLIPv2
from detclipv2.serving import DEFAULTS
from tests.places import REPO

# Aliases, a class with a threshold of its own, a negative.
WORDS = "cup: mug, tumbler, glass\ndog @0.62\n!shadow\na red mug"
CANVAS = (320, 192)
THRESHOLD = 0.6


def run(session: onnxruntime.InferenceSession, photo: Image.Image) -> sv.Detections:
    """As a program would that has only the file."""
    height, width, _ = session.get_inputs()[0].shape
    scale = min(width / photo.width, height / photo.height)
    small = photo.resize(
        (round(photo.width * scale), round(photo.height * scale)),
        Image.Resampling.BILINEAR,
        reducing_gap=2.0,
    )
    canvas = np.full((height, width, 3), 77, np.uint8)  # what lies there must not matter
    canvas[: small.height, : small.width] = small
    content = np.array([small.height, small.width])
    boxes, scores, classes = session.run(None, {"image": canvas, "content": content})
    factors = np.tile(np.array(photo.size) / small.size, 2)
    return sv.Detections(xyxy=boxes * factors, confidence=scores, class_id=classes)


@pytest.fixture(scope="module")
def file(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    export_onnx(predictor, WORDS, file, canvas=CANVAS, threshold=THRESHOLD, max_boxes=40)
    assert [path.name for path in file.parent.iterdir()] == ["detector.onnx"]
    return file


@pytest.fixture(scope="module")
def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("tall", [False, True])
def test_the_file_finds_what_predict_finds(
    predictor: Predictor, session: onnxruntime.InferenceSession, photo: Image.Image, tall: bool
) -> None:
    """In the photo's own shape, and in one that leaves part of the canvas empty."""
    shown = photo.resize((100, 57)) if tall else photo
    found = run(session, shown)
    wanted = predictor.predict(shown, WORDS, threshold=THRESHOLD, max_boxes=40, size=CANVAS[0])
    assert len(wanted) > 10
    assert set(wanted.class_id) == {0, 1, 2}
    np.testing.assert_array_equal(found.class_id, wanted.class_id)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-4)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=2e-2)


def test_soft_suppression_is_built_in(
    spread_model: DetCLIPv2, photo: Image.Image, tmp_path: Path
) -> None:
    soft = copy.copy(spread_model)
    soft.serving = replace(spread_model.serving, soft_nms=0.5)
    predictor = Predictor(soft, device="cpu", cache_dir=tmp_path)
    export_onnx(predictor, WORDS, tmp_path / "soft.onnx", canvas=CANVAS, threshold=0.5)
    found = run(onnxruntime.InferenceSession(tmp_path / "soft.onnx"), photo)
    wanted = predictor.predict(photo, WORDS, threshold=0.5, size=CANVAS[0])
    assert len(wanted) > 10
    np.testing.assert_array_equal(found.class_id, wanted.class_id)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-4)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=2e-2)


def test_thresholds_and_the_number_of_boxes_are_built_in(
    predictor: Predictor, session: onnxruntime.InferenceSession, photo: Image.Image
) -> None:
    found = run(session, photo)
    assert (found.confidence >= np.where(found.class_id == 1, 0.62, THRESHOLD) - 1e-6).all()
    assert (np.diff(found.confidence) <= 0).all()
    more = predictor.predict(photo, WORDS, threshold=THRESHOLD, max_boxes=400, size=CANVAS[0])
    assert len(found) == min(40, len(more))


def test_the_documents_program_runs(
    predictor: Predictor,
    photo: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (REPO / "docs" / "command_line.md").read_text(encoding="utf-8")
    code = next(part for part in readme.split("```") if "onnxruntime.InferenceSession" in part)
    monkeypatch.chdir(tmp_path)
    photo.save("photo.jpg")
    export_onnx(predictor, "cup", "cats.onnx", canvas=(448, 320), threshold=0.01)
    exec(compile(code.removeprefix("python\n"), "command_line.md", "exec"), {})
    assert "[[" in capsys.readouterr().out


def test_the_predictors_own_parts_are_left_where_they_are(predictor: Predictor) -> None:
    built = _Detector(predictor, Vocabulary.parse("cup"), DEFAULTS)
    own = {id(tensor) for tensor in predictor.model.state_dict(keep_vars=True).values()}
    assert not own & {id(tensor) for tensor in built.state_dict(keep_vars=True).values()}


def test_the_file_says_what_it_is(
    predictor: Predictor, session: onnxruntime.InferenceSession
) -> None:
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["names"]) == ["cup", "dog", "a red mug"]
    assert told["checkpoint"] == predictor.fingerprint
    assert told["threshold"] == "0.6"
    assert session.get_inputs()[0].shape == [CANVAS[1], CANVAS[0], 3]


def test_a_canvas_as_the_letterbox_makes_it() -> None:
    """The claim of the docstring, for the sizes used here."""
    pixels, _ = letterbox(Image.new("RGB", (100, 60)), CANVAS[0], ImageConfig())
    assert tuple(pixels.shape[:0:-1]) == CANVAS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"canvas": (100, 64)}, "100 × 64"),
        ({"canvas": (0, 64)}, "0 × 64"),
        ({"threshold": 2}, "threshold"),
        ({"max_boxes": 0}, "max_boxes"),
        ({"prompts": "!dog"}, "only negatives"),
    ],
)
def test_bad_settings_are_named(
    predictor: Predictor, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    asked: dict[str, object] = {"prompts": "cup", **change}
    export: Callable[..., object] = export_onnx
    with pytest.raises(ValueError, match=says):
        export(predictor, asked.pop("prompts"), tmp_path / "x.onnx", **asked)
    assert not list(tmp_path.iterdir())


def test_without_the_packages_it_says_which(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxscript"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match="pip install onnx onnxscript"):
        export_onnx(predictor, "cup", tmp_path / "x.onnx", canvas=(64, 64))


def test_the_command_and_that_nothing_found_is_no_error(
    tiny_checkpoint: Path, photo: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cups.onnx"
    common = ["onnx", "--model", str(tiny_checkpoint), "--out", str(file)]
    asked = ["--prompts", "cup, dog", "--canvas", "96x64", "--threshold", "1"]
    assert main([*common, *asked]) == 0
    assert "2 classes" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == [64, 96, 3]
    assert run(session, photo).xyxy.shape == (0, 4)
    for wrong in (["--canvas", "96"], ["--canvas", "90x64"], ["--model", "nowhere"]):
        assert main([*common, "--prompts", "cup", *wrong]) == 2
        *read, error = capsys.readouterr().err.splitlines()
        assert read in ([], ["1 class: cup"]) and "error: " in error
        assert wrong[1] in error or "90 × 64" in error
