from __future__ import annotations

import dataclasses

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.model import DetCLIPv2
from train.configs import finetune, paper
from train.data.sampler import BatchConfig
from train.experiment import Experiment, Stream, Volume
from train.experiment_names import load_experiment
from train.loop.run import LoopConfig
from train.pretrain import main
from train.profiling.cost import plan
from train.tasks.boxes import BoxesConfig
from train.tasks.pairs_config import PairsConfig


def _experiment(**changes: object) -> Experiment:
    boxes = Stream(
        "boxes",
        lambda *_: ([], []),
        BoxesConfig(concepts=4),
        BatchConfig(batch=8, sizes=(64,)),
        volume=Volume(800, 10),
    )
    pairs = Stream(
        "pairs",
        lambda *_: ([], []),
        PairsConfig(),
        BatchConfig(batch=16, sizes=(64,), square=True),
        volume=Volume(800),
    )
    whole = Experiment(PRESETS["tiny"], (boxes, pairs), LoopConfig(steps=300))
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def test_steps_texts_and_totals_are_arithmetic() -> None:
    found = plan(_experiment())
    boxes, pairs = found.streams
    assert boxes.canvas == (64, 64) == pairs.canvas  # 4:3 of 64 in steps of 32 is 64 × 64
    assert boxes.steps == pytest.approx(200, abs=2) and pairs.steps == pytest.approx(100, abs=2)
    assert (boxes.concepts, pairs.concepts) == (10, 80)  # no more than there are names
    assert boxes.total == pytest.approx(3 * boxes.steps * (8 * boxes.forward + 10 * boxes.text))
    saving = plan(_experiment(checkpointing=True))
    assert saving.streams[0].total == pytest.approx(boxes.total * 4 / 3)
    assert found.hours(1.0) == pytest.approx((boxes.total + pairs.total) / 1e12 / 3600)
    model = DetCLIPv2(PRESETS["tiny"])
    assert found.parameters["head"] == sum(p.numel() for p in model.image_tower.head.parameters())
    assert "device-hours" in found.table(2.0)


def test_flops_and_memory_are_those_of_the_network() -> None:
    """Against a convolution one can count by hand, and growth with the picture."""
    small = plan(_experiment()).streams[0]
    wide = dataclasses.replace(_experiment().streams[0], batches=BatchConfig(batch=8, sizes=(128,)))
    large = plan(_experiment(streams=(wide,))).streams[0]
    assert large.canvas == (128, 96)
    assert large.forward / small.forward == pytest.approx(3.0, rel=0.1)  # three times the pixels
    assert large.activations / small.activations == pytest.approx(3.0, rel=0.15)
    # Every 3×3 convolution of the head runs on every cell of every level.
    cells = 64 + 16 + 4 + 1 + 1
    head = 2 * cells * 9 * 32 * 32 * 2  # both towers, one convolution deep, multiply and add
    assert small.forward > head


def test_a_stream_without_a_volume_cannot_be_planned() -> None:
    silent = dataclasses.replace(_experiment().streams[0], volume=None)
    with pytest.raises(ValueError, match="boxes"):
        plan(_experiment(streams=(silent,)))


@pytest.mark.parametrize(
    ("row", "streams", "steps"),
    [
        (paper.t_o365, ["detection"], 12 * 5157),
        (paper.t_o365_cc3m, ["detection", "pairs"], 12 * (5157 + 489)),
        (paper.t_o365_goldg_cc3m, ["detection", "grounding", "pairs"], 12 * (5157 + 6016 + 489)),
        (paper.t_o365_goldg_cc15m, ["detection", "grounding", "pairs"], 12 * (5157 + 6016 + 2116)),
        (paper.l_o365_goldg_cc15m, ["detection", "grounding", "pairs"], 12 * (2579 + 3008 + 2116)),
    ],
)
def test_the_papers_rows_have_the_papers_settings(row, streams, steps) -> None:  # type: ignore[no-untyped-def]
    experiment = row()
    assert [s.name for s in experiment.streams] == streams
    assert experiment.loop.steps == steps
    by_name = {s.name: s for s in experiment.streams}
    detection = by_name["detection"].task
    assert detection.concepts == 150 and detection.enrich and detection.giou == 2
    if "grounding" in by_name:
        grounding = by_name["grounding"].task
        assert grounding.concepts == 100 and not grounding.localise
    if "pairs" in by_name:
        pairs = by_name["pairs"]
        assert pairs.batches.batch == 6144 and pairs.batches.sizes == (320,)
        task = pairs.task
        assert (task.temperature, task.weight, task.k, task.smoothing) == (0.5, 0.1, 100, 0.1)
    large = experiment.model.name == "swin_l"
    assert experiment.optim.lr == (4e-4 if large else 2.8e-4) and experiment.optim.text == 0.1
    assert row(smoke=True).loop.steps == 4


def test_configs_are_found_by_name_and_unknown_ones_list_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert load_experiment("paper:t_o365").model.name == "swin_t"
    assert load_experiment("nano:boxes", smoke=True).loop.steps == 4
    assert load_experiment("nano_boxes") == load_experiment("nano:boxes")
    assert load_experiment("nano_joint:shipped") == load_experiment("nano:with_pairs")
    assert load_experiment("nano_joint:finish") == load_experiment("nano:finish")
    assert load_experiment("nano_joint") == load_experiment("nano:joint")
    for wrong, listed in [
        ("paper:t_coco", "t_o365_cc3m"),
        ("nothing", "nano"),
        ("nano", "nano:finish"),
        ("nano:of_epochs", "nano:boxes"),
        ("nano_joint:apart", "nano:finish"),
    ]:
        with pytest.raises(ValueError, match=listed):
            load_experiment(wrong)
    main(
        [
            "nano:boxes",
            "--plan",
            "--tflops",
            "0.1",
            "streams.boxes.batches.sizes=(64,)",
            "streams.boxes.batches.mosaic=0.0",
        ]
    )
    assert "device-hours at 0.1 TFLOP/s" in capsys.readouterr().out


def test_fine_tuning_has_the_papers_settings() -> None:
    model = PRESETS["swin_t"]
    lvis = finetune.lvis(model)
    assert lvis.loop.steps == 24 * 1566 and lvis.optim.lr == 4e-5 and lvis.optim.text == 0.1
    odinw = finetune.odinw(model, lambda *_: ([], []), photos=100)
    assert odinw.loop.steps == 250 * 4 and odinw.loop.eval_steps == 4
    assert odinw.optim.lr * odinw.optim.text == pytest.approx(4e-7)
    plateau = odinw.optim.plateau
    assert plateau is not None and (plateau.patience, plateau.give_up) == (5, 8)
    assert torch.tensor(plateau.factor) == 0.1
