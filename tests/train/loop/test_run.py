from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.assets import CAPTIONS, FOLDER
from detclipv2.checkpoint import load_checkpoint
from detclipv2.fingerprint import fingerprint
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from tests.places import REPO
from train.data.readers.coco import read_coco
from train.data.sample import Sample, pair
from train.data.sampler import BatchConfig
from train.experiment import Experiment, Stream, describe, override
from train.initial_model import begin_with, blocks_of, build_model
from train.loop.optim import MovingAverage, OptimConfig, parameter_groups, schedule
from train.loop.run import LoopConfig, check_precision
from train.loop.run_log import LOG
from train.loop.run_state import STATE
from train.loop.snapshots import SNAPSHOTS
from train.pretrain import pretrain
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs_config import PairsConfig


def drawn_experiment(annotations: Path, out: Path, **loop: float) -> Experiment:
    """A run of seconds on the drawn set, with all three data types."""

    def boxes(*_: Path) -> tuple[list[Sample], list[float]]:
        samples = read_coco(annotations, split="train")
        return samples, [1.0] * len(samples)

    def pairs(*_: Path) -> tuple[list[Sample], list[float]]:
        found = [
            pair(
                s.image,
                s.concepts,
                caption=f"a {' and a '.join(s.concepts)}",
                width=s.width,
                height=s.height,
            )
            for s in boxes()[0]
        ]
        return found, [1.0] * len(found)

    batches = BatchConfig(batch=4, sizes=(64,))
    return Experiment(
        model=PRESETS["tiny"],
        streams=(
            Stream(
                "detection",
                boxes,
                BoxesConfig(concepts=6, negatives="data"),
                BatchConfig(batch=4, sizes=(64,), mosaic=0.3, mosaic_size=64),
            ),
            Stream("grounding", boxes, BoxesConfig(concepts=5, localise=False), batches),
            Stream("pairs", pairs, PairsConfig(k=10, micro_batch=2), batches),
        ),
        loop=LoopConfig(**{"steps": 8, "log_every": 1, **loop}),  # type: ignore[arg-type]
        optim=OptimConfig(lr=1e-3, warmup=2),
        out=out,
        workers=0,
        threads=1,
    )


def losses(out: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return {
        line["step"]: {name: v for name, v in line.items() if "/" in name}
        for line in lines
        if line["kind"] == "train"
    }


# The text dictionary is encoded at each start where the tower is frozen; tiny's is not.
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


_PROGRAM = """
import dataclasses, sys
from pathlib import Path
from tests.train.loop.test_run import drawn_experiment
from train.loop.distributed import world
from train.pretrain import pretrain
experiment = drawn_experiment(Path(sys.argv[1]), Path(sys.argv[2]), save_minutes=1e-6)
parallel = (sys.argv + ["ddp"])[3]
# Of a sharded run some weights stay whole: those that do not learn.
frozen = 1 if parallel == "fsdp" else 0
with world(minutes=1) as here:
    pretrain(dataclasses.replace(experiment, parallel=parallel, freeze=frozen), here)
"""


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline and process.poll() is None, "the run never got going"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_with_the_same_losses(
    drawn_set: Path, tmp_path: Path, number: signal.Signals
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(drawn_experiment(drawn_set, whole))
    command = [sys.executable, "-c", _PROGRAM, str(drawn_set), str(killed)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, process)
    process.send_signal(number)
    process.communicate()
    reached = torch.load(killed / STATE)["step"]
    assert 1 <= reached < 8, "the signal came too late to test anything"
    pretrain(drawn_experiment(drawn_set, killed))
    assert losses(killed) == losses(whole)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_when_one_of_two_processes_is_killed_the_run_restarts_and_ends_as_if_it_had_not(
    drawn_set: Path, tmp_path: Path, parallel: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--standalone",
            "--max-restarts",
            "1",
            "--monitor-interval",
            "0.1",
            str(program),
            str(drawn_set),
            str(out),
            parallel,
        ]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    _, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors.decode()[-2000:]
    killed = tmp_path / "killed"
    broken = start(killed)
    _until(lambda: (killed / LOG).is_file() and len(losses(killed)) >= 3, broken)
    children = Path(f"/proc/{broken.pid}/task/{broken.pid}/children").read_text().split()
    workers = [p for p in children if b"program.py" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(workers) == 2
    before = len(losses(killed))
    os.kill(int(workers[1]), signal.SIGKILL)
    _, errors = broken.communicate(timeout=240)
    assert broken.returncode == 0, errors.decode()[-2000:]
    assert before < 8, "the signal came too late to test anything"
    assert losses(killed) == losses(tmp_path / "whole")
    one, other = (load_checkpoint(out / "checkpoint") for out in (killed, tmp_path / "whole"))
    assert fingerprint(one) == fingerprint(other)


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


def test_schedule_warms_up_then_falls_to_the_floor() -> None:
    config = OptimConfig(warmup=10, floor=0.1)
    values = [schedule(step, 110, config) for step in range(110)]
    assert values[0] == pytest.approx(0.1) and values[9] == pytest.approx(1)
    assert values[60] == pytest.approx(0.55) and values[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in pairwise(values[10:]))


def test_groups_give_backbone_and_text_their_rate_and_spare_norms_the_decay() -> None:
    model = DetCLIPv2(PRESETS["tiny"])
    groups = parameter_groups(model, OptimConfig(lr=1.0, backbone=0.5, text=0.1))
    where = {id(p): g for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    rates = {
        model.image_tower.head.box.weight: (1.0, 0.05),
        model.image_tower.head.box.bias: (1.0, 0.0),
        model.image_tower.backbone.net.conv_stem.weight: (0.5, 0.05),
        model.text_encoder.projection.weight: (0.1, 0.05),
        model.log_scale: (1.0, 0.0),
    }
    for parameter, (rate, decay) in rates.items():
        group = where[id(parameter)]
        assert (group["lr"], group["weight_decay"]) == (rate, decay)
    assert len(where) == len(list(model.parameters()))


def test_swins_tables_of_positions_do_not_decay() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224")
    for group in parameter_groups(backbone, OptimConfig()):
        decaying = {id(p) for p in group["params"]} if group["weight_decay"] else set()  # type: ignore[attr-defined]
        for name, parameter in backbone.named_parameters():
            assert id(parameter) not in decaying or "relative_position" not in name


def test_the_moving_average_is_the_recursion_and_swap_is_its_own_inverse() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    average = MovingAverage(layer, 0.5)
    expected = 0.0
    for step in range(1, 6):
        torch.nn.init.constant_(layer.weight, float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.shadow["weight"].item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == pytest.approx(expected)
    average.swap()
    assert layer.weight.item() == 5.0


def test_overrides_reach_nested_keys_and_refuse_unknown_ones(tmp_path: Path) -> None:
    experiment = drawn_experiment(tmp_path / "x.json", tmp_path)
    changed = override(
        experiment, ["optim.lr=1", "streams.pairs.batches.sizes=(96, 128)", "out=a b", "seed=4"]
    )
    assert changed.optim.lr == 1.0 and changed.streams[2].batches.sizes == (96, 128)
    assert changed.out == Path("a b") and changed.seed == 4
    for wrong, message in [
        ("optim.speed=3", "unknown key 'optim.speed'"),
        ("seed", "key=value"),
        ("seed=fast", "expected int"),
        ("streams.sound.weight=1", "detection, grounding, pairs"),
        ("streams.pairs.batches.batch=0", "batch must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            override(experiment, [wrong])
    assert json.dumps(describe(changed))
