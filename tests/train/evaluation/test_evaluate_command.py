"""`train.evaluate` from its command line to its figures, also of killed and of many processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.datasets.labeled_set import read_truth
from detclipv2.inference.predictor import Predictor
from tests.detectors.transformers_models import save_detector
from tests.processes import finish, start, two
from tests.train.conftest import COLOURS
from tests.train.evaluation.dying import evaluate_and_die
from train import evaluate
from train.evaluation.zero_shot import zero_shot_boxes


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
