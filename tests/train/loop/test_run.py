from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.assets import CAPTIONS, FOLDER
from detclipv2.checkpoint import load_checkpoint
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from tests.train.loop.drawn import drawn_experiment, losses
from train.experiment import override
from train.initial_model import begin_with, blocks_of, build_model
from train.loop.run import check_precision
from train.loop.run_log import LOG
from train.loop.run_state import STATE
from train.loop.snapshots import SNAPSHOTS
from train.pretrain import pretrain


def test_a_run_writes_its_log_checkpoint_and_model(drawn_set: Path, tmp_path: Path) -> None:
    run = pretrain(drawn_experiment(drawn_set, tmp_path / "run"))
    assert run.step == 8
    seen = losses(tmp_path / "run")
    assert list(seen) == list(range(1, 9))
    assert {name.split("/")[0] for values in seen.values() for name in values} == {
        "detection",
        "grounding",
        "pairs",
    }
    names = {name for values in seen.values() for name in values}
    assert {"detection/giou", "detection/centerness", "pairs/contrast", "pairs/gradient"} <= names
    assert "grounding/align" in names and "grounding/giou" not in names
    described = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert described["loop"]["steps"] == 8 and described["streams"][2]["task"]["k"] == 10
    model = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert model.config == PRESETS["tiny"]
    last = json.loads((tmp_path / "run" / LOG).read_text().splitlines()[-1])
    assert {"lr", "images_per_second"} <= last.keys()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    (snapshot,) = sorted((tmp_path / "run" / SNAPSHOTS).iterdir())
    told = json.loads(snapshot.read_text())
    assert told["step"] == 8
    assert [p["photo"] for p in told["photos"]] == [name for name, _ in CAPTIONS]
    # The checkpoint keeps matrices in half precision.
    found = Predictor(model, cache_dir=tmp_path).align(
        FOLDER / "demo" / "coffee.jpg", CAPTIONS[1][1]
    )
    assert told["photos"][1]["similarity"] == pytest.approx(found.similarity, abs=0.05)
    assert [p["text"] for p in told["photos"][1]["phrases"]] == list(found.phrases)


def test_a_run_can_begin_with_another_ones_weights(drawn_set: Path, tmp_path: Path) -> None:
    first = drawn_experiment(drawn_set, tmp_path / "first", steps=2)
    pretrain(first)
    begun = dataclasses.replace(first, init=str(tmp_path / "first" / "checkpoint"))
    model = build_model(begun)
    saved = load_checkpoint(tmp_path / "first" / "checkpoint").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    other = dataclasses.replace(begun, model=dataclasses.replace(begun.model, width=40))
    assert build_model(other).config.width == 40  # what fits is taken, here the two towers
    with pytest.raises(ValueError, match="no weight"):
        begin_with(DetCLIPv2(PRESETS["tiny"]), _Headless())  # type: ignore[arg-type]


class _Headless(torch.nn.Linear):
    config = PRESETS["tiny"]

    def __init__(self) -> None:
        super().__init__(1, 1)


def test_activation_checkpointing_changes_no_gradient(drawn_set: Path, tmp_path: Path) -> None:
    plain = drawn_experiment(drawn_set, tmp_path / "plain", steps=3)
    saving = dataclasses.replace(plain, out=tmp_path / "saving", checkpointing=True)
    assert saving.checkpointing and len(blocks_of(build_model(plain))) > 3
    pretrain(plain)
    pretrain(saving)
    one, other = losses(plain.out), losses(saving.out)
    for step, values in one.items():
        assert other[step] == pytest.approx(values, rel=1e-4)
    again = load_checkpoint(saving.out / "checkpoint")
    assert again.config == PRESETS["tiny"]


def test_half_precision_is_left_to_devices_that_have_it(
    monkeypatch: pytest.MonkeyPatch, drawn_set: Path, tmp_path: Path
) -> None:
    cpu = torch.device("cpu")
    for abilities, able in [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=abilities: found)
        check_precision("fp32", cpu)
        check_precision("fp16", torch.device("cuda"))
        if able:
            check_precision("bf16", cpu)
        else:
            with pytest.raises(ValueError, match="bf16"):
                check_precision("bf16", cpu)
        with pytest.raises(ValueError, match="fp16"):
            check_precision("fp16", cpu)
    plain = drawn_experiment(drawn_set, tmp_path / "plain")
    with pytest.raises(ValueError, match=r"loop\.precision=fp32"):
        pretrain(override(plain, ["loop.precision=fp16"]))
    with pytest.raises(ValueError, match="fp8"):
        override(plain, ["loop.precision=fp8"])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    drawn_set: Path, tmp_path: Path
) -> None:
    wild = override(
        drawn_experiment(drawn_set, tmp_path / "run"),
        [
            "streams.detection.task.giou=1e40",
            "streams.grounding.weight=0",
            "streams.pairs.weight=0",
        ],
    )
    with pytest.raises(FloatingPointError, match="step 0"):
        pretrain(wild)
    assert not (tmp_path / "run" / STATE).exists()
