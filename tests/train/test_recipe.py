"""The embedded checkpoint's recipe: it runs from the first step to the last, and goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from detclipv2.checkpoint import inspect, load_checkpoint
from detclipv2.inference.predictor import Predictor
from train import recipe
from train.nano.recipe import RECIPE
from train.nano.steps import KINDS, Stopped
from train.recipe import Order, ancestors, follow, read_step

NAMES = [step.name for step in RECIPE]


@pytest.fixture(scope="module")
def made(ov_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Order:
    """The whole recipe, smoked."""
    order = Order(RECIPE, ov_mini, tmp_path_factory.mktemp("recipe"), ("workers=0",), smoke=True)
    assert follow(order) == NAMES
    return order


def test_the_recipe_ends_with_a_detector_and_its_provenance(made: Order) -> None:
    folder = made.out / "nano" / "checkpoint"
    model = load_checkpoint(folder)
    photo = next((made.root / "coco_dev" / "images").iterdir())
    assert Predictor(model, device="cpu").predict(photo, ["a box"], threshold=0.0)
    card = inspect(folder)["card"]
    assert set(card) >= {"terms", "calibration", "abstention", "zero_shot_percent"}
    assert set(card["zero_shot_percent"]) == {"with_prior_figures", "without_prior_figures"}
    entries = json.loads((folder / "provenance.json").read_text())
    assert [entry["name"] for entry in entries] == NAMES[:-1]
    assert all(entry["seconds"] >= 0 and len(entry["hash"]) == 16 for entry in entries)
    everything = json.loads((made.out / "provenance.json").read_text())
    assert [entry["name"] for entry in everything] == NAMES and everything[:-1] == entries
    assert str(made.root) not in json.dumps(entries), "where things lay is nobody's business"


def test_a_finished_recipe_is_left_alone(made: Order, capsys: pytest.CaptureFixture[str]) -> None:
    begun = {name: (made.out / name / "step.json").stat().st_mtime_ns for name in NAMES}
    assert follow(made) == []
    assert {n: (made.out / n / "step.json").stat().st_mtime_ns for n in NAMES} == begun
    words = ["nano", f"root={made.root}", f"out={made.out}", "workers=0", "--smoke", "--dry-run"]
    recipe.main(words)
    assert all(line.startswith("done") for line in capsys.readouterr().out.splitlines())
    recipe.main([*words, "optim.lr=1e-5", "--until", "finish"])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 and all(line.startswith("to do") for line in shown)


def test_a_stopped_recipe_goes_on_and_a_changed_one_begins_where_it_changed(
    made: Order, tmp_path: Path
) -> None:
    average = next(step for step in RECIPE if step.name == "finish_mean")
    average = dataclasses.replace(average, inputs=("boxes", "with_pairs"))
    order = dataclasses.replace(made, steps=(*RECIPE[:2], average), out=tmp_path)
    shutil.copytree(made.out / "shared", tmp_path / "shared")
    assert follow(order, last="boxes") == ["boxes"]
    run = tmp_path / "with_pairs"

    def stop() -> None:
        # From here on training has its own way to answer signals.
        while not (run / "tensorboard").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Stopped, match="with_pairs: stopped at step"):
        follow(order)
    thread.join()
    assert not read_step(run)["finished"] and not (tmp_path / "finish_mean").exists()
    with pytest.raises(ValueError, match="finish_mean needs with_pairs, which is not done"):
        follow(order, first="finish_mean")
    seconds = read_step(run)["seconds"]
    assert follow(order) == ["with_pairs", "finish_mean"]
    assert read_step(run)["seconds"] > seconds and read_step(run)["figures"]["steps"] == 4

    heavier = dataclasses.replace(average, settings={"weights": [3, 1]})
    changed = dataclasses.replace(order, steps=(*RECIPE[:2], heavier))
    before = read_step(tmp_path / "finish_mean")
    assert follow(changed) == ["finish_mean"]
    assert read_step(tmp_path / "finish_mean")["settings"] == {"weights": [3, 1]}
    assert read_step(tmp_path / "finish_mean.before1") == before, "nothing is deleted"


def test_a_hash_follows_all_that_decides_a_step() -> None:
    order = Order(RECIPE, Path("data"), Path("runs"))
    hashes = order.hashes()
    assert len(set(hashes.values())) == len(NAMES)
    assert dataclasses.replace(order, root=Path("elsewhere"), out=Path("x")).hashes() == hashes
    assert not set(dataclasses.replace(order, smoke=True).hashes().values()) & {*hashes.values()}
    changed = [
        dataclasses.replace(s, settings={**s.settings, "width": 96}) if s.name == "swapped" else s
        for s in RECIPE
    ]
    other = dataclasses.replace(order, steps=tuple(changed)).hashes()
    moved = {name for name in NAMES if other[name] != hashes[name]}
    grown = {s.name for s in RECIPE if "swapped" in {a.name for a in ancestors(RECIPE, s.name)}}
    assert moved == {"swapped", *grown} and "narrow_ranked" not in moved and "nano" in moved


def test_every_step_has_a_kind_and_inputs_before_it() -> None:
    assert {step.kind for step in RECIPE} == {*KINDS}
    backwards = Order(RECIPE[1:], Path("data"), Path("runs"))
    with pytest.raises(ValueError, match="'with_pairs' lacks 'boxes' before it"):
        backwards.hashes()
    twice = Order((RECIPE[0], RECIPE[0]), Path("data"), Path("runs"))
    with pytest.raises(ValueError, match="'boxes' is named twice"):
        twice.hashes()


def test_the_command_lists_and_names_its_steps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe.main(["nano", "--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES
    for words, message in [
        (["--from", "nowhere"], "no step 'nowhere'; known: boxes"),
        (["--from", "wide", "--until", "boxes"], "'boxes' comes before 'wide'"),
        (["speed=9"], "unknown key 'speed'"),
        ([f"out={tmp_path}", "--from", "finish"], "finish needs with_pairs, which is not done"),
        ([f"out={tmp_path}", f"root={tmp_path}/none"], "No such file"),
    ]:
        with pytest.raises(SystemExit, match=message):
            recipe.main(["nano", *words])
