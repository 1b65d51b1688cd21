from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint import load_checkpoint, save_checkpoint
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig
from detclipv2.nano.tower import build, nano_config
from detclipv2.serving import ServingConfig
from tests.train.conftest import draw_set
from train import finetune
from train.ablations.tuning_report import read_tuned
from train.loop.optim import Plateau, Progress
from train.nano.prior import imagenet_backbone


def test_a_plateau_cuts_after_five_and_gives_up_when_small_enough() -> None:
    plateau, progress = Plateau(), Progress()
    progress = progress.after(10.0, plateau)
    assert (progress.best, progress.waited, progress.factor) == (10.0, 0, 1.0)
    for _ in range(4):
        progress = progress.after(9.0, plateau)
    assert progress.factor == 1.0
    progress = progress.after(10.0, plateau)  # as good is no gain
    assert progress.factor == pytest.approx(0.1) and progress.waited == 5
    gained = progress.after(11.0, plateau)
    assert gained.factor == pytest.approx(0.1) and gained.waited == 0
    for _ in range(5):
        progress = progress.after(3.0, plateau)
    assert progress.factor == pytest.approx(0.01)
    # The paper's end: at 1e-8 and eight evaluations in vain.
    assert not progress.over(plateau, 4e-5) and progress.over(plateau, 1e-6)
    assert not gained.over(plateau, 1e-9)
    with pytest.raises(ValueError, match="patience"):
        Plateau(patience=0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(DetCLIPv2(PRESETS["tiny"]), tmp_path / "start")
    return tmp_path / "start"


def _roboflow(folder: Path) -> Path:
    """The drawn set in ODinW's layout."""
    for seed, split in enumerate(("train", "valid", "test")):
        source = draw_set(folder / "made" / split, count=4, seed=seed)
        target = folder / "set" / split
        target.mkdir(parents=True)
        for photo in (source.parent / "images").iterdir():
            photo.rename(target / photo.name)
        (target / "_annotations.coco.json").write_text(source.read_text())
    return folder / "set"


def test_sets_are_tuned_from_the_checkpoint_and_judged_once_on_test(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = draw_set(tmp_path / "drawn", count=12)
    truth = json.loads(ours.read_text())
    for number, image in enumerate(truth["images"]):
        image["split"] = ("train", "val", "test")[number % 3]
    ours.write_text(json.dumps(truth))
    out = tmp_path / "out"
    words = [
        "odinw",
        str(checkpoint),
        "--smoke",
        f"out={out}",
        "workers=0",
        "threads=1",
        str(ours.parent),
        str(_roboflow(tmp_path)),
        "streams.detection.batches.sizes=(64,)",
        "freeze=1",
    ]
    finetune.main(words)
    shown = capsys.readouterr().out
    assert "| drawn |" in shown and "| set |" in shown and "| mean |" in shown
    for name in ("drawn", "set"):
        run = out / name
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        looks = [line for line in lines if line["kind"] == "eval"]
        assert len(looks) == 2  # an evaluation an epoch
        kept = json.loads((run / "best" / "valid.json").read_text())
        assert kept["ap"] == max(line["ap"] for line in looks)
        start = load_checkpoint(checkpoint).state_dict()
        tuned = load_checkpoint(run / "best").state_dict()
        assert any(not torch.equal(start[n], tuned[n]) for n in start)
        # Warm-up has hardly begun, so the weights are still near where they started.
        name = "image_tower.head.box.weight"
        assert torch.allclose(start[name], tuned[name], atol=1e-3)
    before = (out / "drawn" / "log.jsonl").stat().st_size
    finetune.main(words)
    assert (out / "drawn" / "log.jsonl").stat().st_size == before
    assert (out / "table.md").read_text().count("\n") == 5

    other = draw_set(tmp_path / "other", count=3, seed=9).parent
    finetune.main([*words, "--other", str(other)])
    assert (out / "drawn" / "log.jsonl").stat().st_size == before  # judged, not trained again
    rows = (out / "table.md").read_text().splitlines()
    assert rows[0] == "| set | AP | AP50 | other AP50 |" and rows[2].startswith("| before |")
    figures = json.loads((out / "drawn" / "figures.json").read_text())
    assert rows[3].endswith(f"| {figures['other_ap50']:.1f} |")
    kept = read_tuned(out)
    assert kept.other == "other" and kept.sets["drawn"] == figures
    assert kept.settings["began with"] == checkpoint.name and kept.settings["steps"] > 0
    assert kept.settings["backbone stages frozen"] == 1
    assert kept.settings["judged at"] == "64 px"

    finetune.main([*words, "--other", str(other), "--keep", "0.25"])
    assert (out / "drawn" / "log.jsonl").stat().st_size == before
    rows = (out / "table.md").read_text().splitlines()
    assert rows[0] == "| set | AP | AP50 | other AP50 | kept: AP50 | kept: other AP50 |"
    assert {row.count("|") for row in rows} == {7}
    start, tuned, mixed = (
        load_checkpoint(folder).state_dict()["image_tower.head.box.weight"]
        for folder in (checkpoint, out / "drawn" / "best", out / "drawn" / "kept")
    )
    torch.testing.assert_close(mixed, 0.75 * tuned + 0.25 * start, rtol=2e-3, atol=2e-3)
    finetune.main([*words, "--keep", "0.75"])  # another share is another checkpoint
    mixed = load_checkpoint(out / "drawn" / "kept").state_dict()["image_tower.head.box.weight"]
    torch.testing.assert_close(mixed, 0.25 * tuned + 0.75 * start, rtol=2e-3, atol=2e-3)
    figures = json.loads((out / "drawn" / "figures.json").read_text())
    assert figures["keep"] == 0.75 and "kept_other_ap50" not in figures


def test_without_the_checkpoint_only_the_backbone_has_learned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(DetCLIPv2(PRESETS["nano"]), tmp_path / "start")
    ours = draw_set(tmp_path / "drawn", count=6)
    truth = json.loads(ours.read_text())
    for number, image in enumerate(truth["images"]):
        image["split"] = ("train", "test")[number % 2]
    ours.write_text(json.dumps(truth))
    finetune.main(
        [
            "odinw",
            str(tmp_path / "start"),
            "--from-backbone",
            "package",
            "--smoke",
            str(ours.parent),
            f"out={tmp_path / 'out'}",
            "workers=0",
            "threads=1",
            "seed=5",
            "streams.detection.batches.sizes=(64,)",
        ]
    )
    start = load_checkpoint(tmp_path / "start").state_dict()
    tuned = load_checkpoint(tmp_path / "out" / "drawn" / "best").state_dict()
    imagenet = imagenet_backbone(PRESETS["nano"].backbone).state_dict()
    stem = "net.conv_stem.weight"
    assert torch.allclose(tuned[f"image_tower.backbone.{stem}"], imagenet[stem], atol=1e-3)
    name = "image_tower.head.classification_tower.0.weight"
    assert not torch.allclose(tuned[name], start[name], atol=1e-2)


@pytest.mark.parametrize(("override", "kept"), [(["freeze=5"], False), ([], True)])
def test_the_prior_stays_only_where_the_backbone_is_frozen(
    tmp_path: Path, override: list[str], kept: bool
) -> None:
    torch.manual_seed(0)
    narrow = replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96)
    start = build(narrow, NanoConfig(imagenet_prior=True, shortcut=True), ServingConfig(size=64))
    save_checkpoint(start, tmp_path / "start")
    ours = draw_set(tmp_path / "drawn", count=6)
    truth = json.loads(ours.read_text())
    for number, image in enumerate(truth["images"]):
        image["split"] = ("train", "test")[number % 2]
    ours.write_text(json.dumps(truth))
    finetune.main(
        [
            "odinw",
            str(tmp_path / "start"),
            "--smoke",
            str(ours.parent),
            "workers=0",
            f"out={tmp_path / 'out'}",
            "threads=1",
            "streams.detection.batches.sizes=(64,)",
            *override,
        ]
    )
    tuned = load_checkpoint(tmp_path / "out" / "drawn" / "best")
    nano = nano_config(tuned)
    assert nano is not None and nano.shortcut and nano.imagenet_prior == kept
    assert tuned.serving == start.serving
    stem = "image_tower.backbone.net.conv_stem.weight"
    changed = not torch.equal(tuned.state_dict()[stem], start.state_dict()[stem].half().float())
    assert changed == (not kept and "freeze=0" in override)


def test_folders_that_are_no_sets_are_named(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(SystemExit, match="neither"):
        finetune.main(["odinw", str(checkpoint), str(tmp_path)])
    with pytest.raises(SystemExit, match="at least one set"):
        finetune.main(["odinw", str(checkpoint)])
    for wrong in (["--keep", "1"], ["--keep", "0.5", "--from-backbone", "package"]):
        with pytest.raises(SystemExit, match="2"):
            finetune.main(["odinw", str(checkpoint), str(tmp_path), *wrong])
    lonely = draw_set(tmp_path / "lonely", count=2)  # training photos only
    with pytest.raises(SystemExit, match="to judge by"):
        finetune.main(["odinw", str(checkpoint), str(lonely.parent)])
