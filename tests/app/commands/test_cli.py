"""The command line: what it writes, what it says, and the code it leaves with."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO
from PIL import Image

from app import cli
from app.commands.detection_options import detection_changes
from app.engine import Engine
from app.formats.names import picture_names
from tests.places import REPO

LOW = "0.02"  # a threshold that the scores of a random tiny model pass

Run = Callable[..., int]


@pytest.fixture
def run(checkpoint: Path, tmp_path: Path) -> Run:
    """`run(path, …, "--flag", …)`: the detect command with the tiny model, into tmp_path/out."""

    def detect(*arguments: object, prompts: str | None = "cat, a red mug") -> int:
        words = [] if prompts is None else ["--prompts", prompts]
        out = ["--out", str(tmp_path / "out"), "--model", str(checkpoint)]
        return cli.main(["detect", *map(str, arguments), *words, *out])

    return detect


def dataset(tmp_path: Path) -> dict[str, Any]:
    value = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_a_folder_with_a_broken_image(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, "--threshold", LOW) == cli.SOME_FAILED
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "1 of 4 images failed" in said.err
    value = dataset(tmp_path)
    assert [image["file_name"] for image in value["images"]] == [
        "cat ünïcode.jpg",
        "coffee.jpg",
        "sub/coffee.jpg",
    ]
    assert [(i["width"], i["height"]) for i in value["images"]] == [
        (451, 300),
        (600, 400),
        (640, 427),
    ]
    assert [c["name"] for c in value["categories"]] == ["cat", "a red mug"]
    assert COCO(str(tmp_path / "out" / "detections.json")).getAnnIds()
    pictures = tmp_path / "out" / "pictures"
    names = [image["picture"] for image in value["images"]]
    assert len(set(names)) == 3
    for image in value["images"]:
        with Image.open(pictures.parent / image["picture"]) as drawn:
            assert drawn.size == (image["width"], image["height"])
    assert sorted(p.name for p in pictures.iterdir()) == sorted(Path(n).name for n in names)


def test_boxes_are_the_predictors(run: Run, photos: Path, tmp_path: Path, engine: Engine) -> None:
    photo = photos / "coffee.jpg"
    assert (
        run(
            photo,
            "--threshold",
            LOW,
            "--nms",
            "0.4",
            "--max-boxes",
            "7",
            "--size",
            "96",
            "--tiles",
            "2",
            "--no-one-name",
            "--no-whole-things",
        )
        == 0
    )
    expected = engine.predictor.predict(
        photo, "cat, a red mug", threshold=float(LOW), nms_iou=0.4, max_boxes=7, size=96, tiles=2
    )
    written = dataset(tmp_path)["annotations"]
    boxes = np.array([annotation["bbox"] for annotation in written])
    boxes[:, 2:] += boxes[:, :2]
    assert len(boxes) == 7
    np.testing.assert_allclose(boxes, expected.xyxy, atol=0.02)
    scores = [annotation["score"] for annotation in written]
    assert expected.confidence is not None
    np.testing.assert_allclose(scores, expected.confidence, atol=1e-6)
    info = dataset(tmp_path)["info"]
    assert (info["size"], info["tiles"]) == (96, 2)
    assert (info["nms_iou"], info["max_boxes"]) == (0.4, 7)


def test_images_without_boxes_are_listed(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run(photos / "sub", "--threshold", "1") == cli.OK
    value = dataset(tmp_path)
    assert [image["file_name"] for image in value["images"]] == ["coffee.jpg"]
    assert value["annotations"] == []


def test_no_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run(photos / "sub", "--no-pictures") == cli.OK
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["detections.json"]
    assert "picture" not in dataset(tmp_path)["images"][0]


def test_prompts_from_a_file(run: Run, photos: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\ufeff# mine\ncup: mug @0.02\n!shadow\nTür", encoding="utf-8")
    assert run(photos / "sub", "--threshold", 1, "--prompts-file", words, prompts=None) == cli.OK
    value = dataset(tmp_path)
    assert [c["name"] for c in value["categories"]] == ["cup", "Tür"]
    assert {a["category_id"] for a in value["annotations"]} == {1}, "only cup has a low threshold"


def test_a_second_run_does_not_look_at_the_first_ones_pictures(
    run: Run, photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    inside = ["--out", str(photos / "out"), "--model", str(checkpoint)]
    for _ in range(2):
        command = ["detect", str(photos / "sub"), str(photos), "--prompts", "cat", *inside]
        assert cli.main(command) == cli.SOME_FAILED
        value = json.loads((photos / "out" / "detections.json").read_text(encoding="utf-8"))
        assert len(value["images"]) == 3, "each image once, however often it is named"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jpg", "--prompts", "cat"], "no such file or folder: gone.jpg"),
        (["EMPTY", "--prompts", "cat"], "no images in"),
        (["PHOTO", "--prompts", "cat @2"], "line 1"),
        (["PHOTO", "--prompts", " "], "write at least one prompt"),
        (["PHOTO", "--prompts-file", "gone.txt"], "gone.txt"),
        (
            ["PHOTO", "--prompts", "cat", "--threshold", "1.5"],
            "threshold must lie in 0..1, got 1.5",
        ),
        (["PHOTO", "--prompts", "cat", "--threshold", "high"], "invalid float value: 'high'"),
        (["PHOTO", "--prompts", "cat", "--nms", "-1"], "nms_iou must lie in 0..1, got -1"),
        (["PHOTO", "--prompts", "cat", "--max-boxes", "0"], "max_boxes must be at least 1, got 0"),
        (["PHOTO", "--prompts", "cat", "--tiles", "0"], "tiles must lie in 1..8, got 0"),
        (["PHOTO", "--prompts", "cat", "--size", "100"], "multiple of 32, got 100; try 96"),
        (["PHOTO", "--prompts", "cat", "--model", "nowhere"], "no checkpoint 'nowhere'"),
        (["PHOTO", "--prompts", "cat", "--out", "PHOTO"], "is a file; name a folder"),
        (["PHOTO"], "one of the arguments --prompts --prompts-file is required"),
        (["PHOTO", "--prompts", "a", "--prompts-file", "b"], "not allowed with"),
        (["PHOTO", "--prompts", "cat", "--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_usage_errors_are_one_line_and_write_nothing(
    arguments: list[str],
    message: str,
    photos: Path,
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    known = {"PHOTO": str(photos / "coffee.jpg"), "EMPTY": str(tmp_path / "empty")}
    command = ["detect", "--out", str(tmp_path / "out"), "--model", str(checkpoint)]
    assert cli.main([*command, *(known.get(word, word) for word in arguments)]) == cli.USAGE
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith(("detclipv2: ", "detclipv2 detect: "))
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_resume_takes_the_runs_model_unless_one_is_named(
    photos: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    words = ["--prompts", "cat", "--model", str(checkpoint), "--run", folder]
    assert cli.main(["detect", str(photos / "sub"), *words]) == 0
    assert cli.main(["detect", "--resume", folder, "--model", str(checkpoint)]) == 0
    assert cli.main(["detect", "--resume", folder, "--model", "nano"]) == 2
    assert "was begun with checkpoint" in capsys.readouterr().err
    assert cli.main(["detect", "--resume", folder]) == 0, "the run knows its checkpoint folder"
    assert cli.main(["detect", "x", "--prompts", "c", "--out", "o", "--retry-failed"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_names_of_pictures_are_unique_where_case_does_not_count() -> None:
    names = picture_names(["a/x.jpg", "b/X.png", "b/x-2.jpg", "c/x.jpg"])
    assert names[0] == "x.jpg"
    assert len({name.lower() for name in names}) == 4


def test_help_shows_the_prompt_syntax(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("cup: mug, tumbler @0.35", "!shadow", "exit codes", "--prompts-file"):
        assert word in said


def test_the_parser_has_no_surprising_defaults() -> None:
    arguments = cli.build_parser().parse_args(["detect", "x", "--prompts", "c", "--out", "o"])
    assert isinstance(arguments, argparse.Namespace)
    assert detection_changes(arguments) == {} and arguments.model is None, (
        "a resumed run has its own"
    )


def test_the_command_runs_and_needs_no_gradio(
    photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    program = (
        "import sys, runpy\n"
        "sys.modules['gradio'] = None\n"  # importing it now fails
        "runpy.run_module('app.cli', run_name='__main__', alter_sys=True)"
    )
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "detect",
            photos / "sub",
            "--prompts",
            "cat",
            "--threshold",
            LOW,
            "--model",
            checkpoint,
            "--out",
            tmp_path / "out",
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    assert "1 images" in finished.stdout
    assert "100%" in finished.stderr, "there is a progress bar"
    assert dataset(tmp_path)["annotations"]


def test_ctrl_c_writes_what_is_done(
    make_image: Callable[..., Path], tmp_path: Path, checkpoint: Path
) -> None:
    first = make_image("many/0000.png", (640, 480))
    for number in range(1, 400):
        os.link(first, first.with_name(f"{number:04}.png"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "app.cli",
            "detect",
            first.parent,
            "--prompts",
            "cat",
            "--model",
            checkpoint,
            "--out",
            out,
        ],
        # a caller in the background ignores Ctrl-C, and its children would, too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=REPO,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "pictures" / "0002.jpg").exists():
        assert time.monotonic() < deadline, "no picture after a minute"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED, said
    value = dataset(tmp_path)
    assert 3 <= len(value["images"]) < 400
    assert all((out / image["picture"]).is_file() for image in value["images"])
    assert "what is done is written" in said
    assert "Traceback" not in said
