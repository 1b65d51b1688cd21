from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detclipv2.checkpoint import load_checkpoint
from detclipv2.datasets.labeled_set import read_truth
from detclipv2.inference.predictor import Predictor
from tests.train.loop.drawn import drawn_experiment
from train import ablate as command
from train.ablate import Settings, ablate, experiment_of, fingerprint
from train.ablations.bases import nano, swin_t
from train.ablations.judges import on_coco_dev, on_lvis, on_ov_mini
from train.ablations.row import Row
from train.ablations.runs import FAILED, FIGURES, read_runs
from train.ablations.tables import ROWS
from train.evaluation.zero_shot import zero_shot_boxes
from train.experiment import Experiment, epoch_steps
from train.loop.distributed import World
from train.loop.run_log import LOG
from train.loop.run_state import STATE
from train.nano import stages

ROW = {row.name: row for row in ROWS}


class Drawn:
    """The drawn set as a base and as a judge; counts what it judged."""

    def __init__(self, annotations: Path) -> None:
        self._file = annotations
        self.judged: list[Path] = []

    def base(self, row: Row, smoke: bool = False) -> Experiment:
        """Three streams, seven steps: seed 1 has its first pairs in the sixth."""
        return drawn_experiment(self._file, Path(), steps=2 if smoke else 7)

    def judge(self, experiment: Experiment, here: World) -> dict[str, Any]:
        """AP on the drawn set, and a figure that says which weights were judged."""
        self.judged.append(experiment.out)
        model = load_checkpoint(experiment.out / "checkpoint")
        predictor = Predictor(model, cache_dir=experiment.out / "cache")
        figures, recall = zero_shot_boxes(
            predictor, read_truth(self._file), self._file.parent / "images", 64
        )
        weights = sum(float(p.detach().double().norm()) for p in model.parameters())
        found = {"ap": figures.ap, "ar100": recall, "weights": weights, "rare": float("nan")}
        return {"figures": found, "detail": {}}


ROWS_OF_THE_TEST = [ROW["2e/tau=1"], ROW["2d/k=100"], ROW["2f/lambda=1"]]
SETTINGS = Settings("drawn", overrides=("streams.pairs.task.k=100", "streams.pairs.weight=3"))


def _figures(out: Path) -> dict[str, float]:
    found = {str(f.relative_to(out).parent): f for f in sorted(out.glob("*/seed*/figures.json"))}
    return {k: json.loads(f.read_text())["figures"]["weights"] for k, f in found.items()}


def test_an_ablation_goes_on_after_a_kill_and_repeats_nothing(
    drawn_set: Path, tmp_path: Path
) -> None:
    drawn, whole, killed = Drawn(drawn_set), tmp_path / "whole", tmp_path / "killed"
    run: Callable[..., bool] = ablate
    arguments = (ROWS_OF_THE_TEST, drawn.base)
    assert run(*arguments, drawn.judge, SETTINGS, root=tmp_path, out=whole, seeds=2)
    assert len(drawn.judged) == 6 and len(set(_figures(whole).values())) == 6
    runs = read_runs(whole)
    assert {name: len(done) for name, done in runs.trained.items()} == {
        "2e/tau=1": 2,
        "2d/k=100": 2,
        "2f/lambda=1": 2,
    }
    assert not runs.missing
    written = json.loads(next(whole.glob("2e-tau-1-*/seed1/figures.json")).read_text())
    assert written["seed"] == 1 and written["steps"] == 7 and written["figures"]["rare"] is None
    assert not list(whole.glob("*/*/last.pt")), "state of finished runs is not needed"

    def dies(experiment: Experiment, here: World) -> dict[str, Any]:
        if len(drawn.judged) == 8:
            raise KeyboardInterrupt
        return drawn.judge(experiment, here)

    with pytest.raises(KeyboardInterrupt):
        run(*arguments, dies, SETTINGS, root=tmp_path, out=killed, seeds=2)
    assert len(_figures(killed)) == 2
    assert list(read_runs(killed).missing.values()) == [
        ["seed 1 not begun"],
        ["seed 1 not begun"],
        ["seed 0 got to step 7", "seed 1 not begun"],
    ]
    assert run(*arguments, drawn.judge, SETTINGS, root=tmp_path, out=killed, seeds=2)
    assert _figures(killed) == _figures(whole)
    assert len(drawn.judged) == 6 + 2 + 4
    assert run(*arguments, drawn.judge, SETTINGS, root=tmp_path, out=killed, seeds=2)
    assert len(drawn.judged) == 12, "finished runs were repeated"


def test_equal_rows_share_their_runs_also_later(drawn_set: Path, tmp_path: Path) -> None:
    drawn = Drawn(drawn_set)
    first, second = [ROW["2d/k=100"], ROW["2a/text_batch"]], [ROW["2e/tau=0.5"]]
    for rows in (first, second):
        assert ablate(rows, drawn.base, drawn.judge, SETTINGS, root=tmp_path, out=tmp_path, seeds=1)
    assert len(drawn.judged) == 1
    runs = read_runs(tmp_path)
    assert set(runs.trained) == {"2d/k=100", "2a/text_batch", "2e/tau=0.5"}
    # Asked for, not begun, then asked for under another name.
    stopped, here = tmp_path / "stopped", [ROW["2d/k=50"], *first]

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(here, drawn.base, dies, SETTINGS, root=tmp_path, out=stopped, seeds=1)
    for rows in (second, here):
        assert ablate(rows, drawn.base, drawn.judge, SETTINGS, root=tmp_path, out=stopped, seeds=1)
    assert len(read_runs(stopped).trained) == 4
    # Without the overrides the row is another experiment, and this another ablation.
    plain = Settings("drawn")
    with pytest.raises(ValueError, match="take another --out"):
        ablate(second, drawn.base, drawn.judge, plain, root=tmp_path, out=tmp_path, seeds=1)
    # The settings are the same, what they stand for is not.
    with pytest.raises(ValueError, match="another base"):
        ablate(
            second,
            lambda row, _: dataclasses.replace(drawn.base(row), temperature=0.3),
            drawn.judge,
            SETTINGS,
            root=tmp_path,
            out=tmp_path,
            seeds=1,
        )
    assert len(drawn.judged) == 3


def test_a_row_that_cannot_be_trained_does_not_stop_the_others(
    drawn_set: Path, tmp_path: Path
) -> None:
    drawn = Drawn(drawn_set)

    def wild(base: Experiment) -> Experiment:
        streams = (
            dataclasses.replace(
                base.streams[0], task=dataclasses.replace(base.streams[0].task, giou=1e40)
            ),
        )
        return dataclasses.replace(base, streams=streams)

    rows = [Row("2f/lambda=1", change=wild), ROW["2f/lambda=0.1"]]
    assert ablate(rows, drawn.base, drawn.judge, SETTINGS, root=tmp_path, out=tmp_path, seeds=1)
    assert [p.parent.name[:12] for p in drawn.judged] == ["2f-lambda-0."]
    assert "not finite" in next(tmp_path.glob(f"2f-lambda-1-*/seed0/{FAILED}")).read_text()
    assert "failed: step 0" in read_runs(tmp_path).missing["2f/lambda=1"][0]


def test_a_run_that_was_asked_to_stop_stops_everything(
    drawn_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Drawn(drawn_set)
    begun: list[Path] = []

    def stops(experiment: Experiment, here: World) -> SimpleNamespace:
        begun.append(experiment.out)
        return SimpleNamespace(step=experiment.loop.steps - 1)

    monkeypatch.setattr(command, "pretrain", stops)
    rows = ROWS_OF_THE_TEST
    assert not ablate(rows, drawn.base, drawn.judge, SETTINGS, root=tmp_path, out=tmp_path)
    assert len(begun) == 1 and not drawn.judged and not list(tmp_path.glob(f"*/*/{FIGURES}"))


def test_steps_and_overrides_reach_the_rows(drawn_set: Path, tmp_path: Path) -> None:
    row = ROW["4/O365"]
    assert experiment_of(row, nano, Settings("nano")).loop.steps < 1000
    usual = experiment_of(ROW["2d/k=50"], nano, Settings("nano", steps=200))
    assert usual.loop.steps == 200 and usual.loop.eval_minutes == 0
    words = ("streams.pairs.task.k=30", "streams.pairs.weight=0.6", "optim.lr=5e-4")
    changed = experiment_of(ROW["2d/k=50"], nano, Settings("nano", overrides=words))
    (pairs,) = (s for s in changed.streams if s.name == "pairs")
    assert (pairs.task.k, pairs.weight, changed.optim.lr) == (50, 0.6, 5e-4)
    # Detection has as many steps in its own row as in the run with everything.
    whole, part = stages.joint(), experiment_of(row, nano, Settings("nano", steps=1000))
    own = epoch_steps(part.streams) / epoch_steps(whole.streams) * 1000
    assert part.loop.steps == pytest.approx(own, abs=1)
    # The paper's O365 run has no pairs to change.
    paper = experiment_of(row, swin_t, Settings("swin_t", overrides=("streams.pairs.task.k=30",)))
    assert [s.name for s in paper.streams] == ["detection"]
    with pytest.raises(ValueError, match="unknown key"):
        experiment_of(row, nano, Settings("nano", overrides=("speed=9",)))


def test_captions_are_parsed_once_for_all_runs(drawn_set: Path, tmp_path: Path) -> None:
    drawn = Drawn(drawn_set)
    (tmp_path / "caption_phrases.json").write_bytes(b"kept")
    seen: list[bytes] = []

    def judge(experiment: Experiment, here: World) -> dict[str, Any]:
        seen.append((experiment.out / "caption_phrases.json").read_bytes())
        (experiment.out / "caption_phrases.json").write_bytes(b"kept and more")
        return {"figures": {"ap": 1.0}, "detail": {}}

    ablate(ROWS_OF_THE_TEST[:2], drawn.base, judge, SETTINGS, root=tmp_path, out=tmp_path, seeds=1)
    assert seen == [b"kept", b"kept and more"]
    assert not list(tmp_path.glob("*/*/caption_phrases.json"))


def test_the_fingerprint_leaves_out_what_changes_no_result(drawn_set: Path, tmp_path: Path) -> None:
    one = drawn_experiment(drawn_set, tmp_path)
    other = dataclasses.replace(one, out=Path("x"), root=Path("y"), seed=3, threads=7, workers=2)
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(dataclasses.replace(one, temperature=0.9))


def test_the_command_lists_trains_and_reports(
    drawn_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ROWS)
    assert lines[0].split() == ["2a/foreground", "AP", "28.4", "(26.6/28.2/28.8)"]
    drawn = Drawn(drawn_set)
    monkeypatch.setitem(command.BASES, "nano", drawn.base)
    monkeypatch.setattr(command, "on_ov_mini", drawn.judge)
    told = ["2d", "k=25", "k=100", "--seeds", "2", "--steps", "3", "--out", str(tmp_path)]
    command.main([*told, "streams.pairs.task.k=100", "--figures", "weights", "ap"])
    report = (tmp_path / "report.md").read_text()
    assert "| k=25 | 30.6 |" in report and "| **k=100** | 31.3 |" in report
    assert "k=25 against k=100:" in report and (tmp_path / "report-2d.png").stat().st_size > 5000
    steps = [json.loads(line)["step"] for line in next(tmp_path.glob(f"*/seed0/{LOG}")).open()]
    assert steps == [1, 2, 3]
    for wrong, message in [
        (["9"], "no table"),
        (["2d", "k=3"], "no row"),
        (["2d", "speed=3"], "unknown key"),
    ]:
        with pytest.raises(SystemExit, match=message):
            command.main([*wrong, "--out", str(tmp_path / "other")])
    for bad in ([], ["2d", "--seeds", "0"], ["2d", "--images", "x"]):
        with pytest.raises(SystemExit, match="2"):
            command.main(bad)


def _judged(tmp_path: Path, checkpoint: Path, root: Path) -> Experiment:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").symlink_to(checkpoint)
    base = drawn_experiment(tmp_path / "x.json", tmp_path / "run")
    return dataclasses.replace(base, root=root)


def test_ov_minis_figures_have_short_names(
    tiny_checkpoint: Path, tmp_path: Path, ov_mini: Path
) -> None:
    experiment = _judged(tmp_path, tiny_checkpoint, ov_mini)
    found = on_ov_mini(experiment, World())
    assert found is not None
    assert {"ap", "ap50", "ar100", "ap50 other sets", "phrase recall@1"} <= found["figures"].keys()
    groups = found["detail"]["coco_dev"]["groups"]
    assert all(found["figures"][f"ap50 {g}"] == v["ap50"] for g, v in groups.items()) and groups
    assert on_ov_mini(experiment, World(rank=1, size=2)) is None
    quick = on_coco_dev(experiment, World())
    assert quick is not None and on_coco_dev(experiment, World(rank=1, size=2)) is None
    assert quick["figures"].items() <= found["figures"].items() and len(quick["figures"]) > 3


def test_lvis_is_judged_by_its_fixed_ap(
    drawn_set: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    truth = json.loads(drawn_set.read_text())
    for image in truth["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category, frequency in zip(truth["categories"], "rcf", strict=True):
        category["frequency"] = frequency
    (tmp_path / "lvis.json").write_text(json.dumps(truth))
    experiment = _judged(tmp_path, tiny_checkpoint, tmp_path)
    images = drawn_set.parent / "images"
    given = {"annotations": tmp_path / "lvis.json", "images": images}
    found = on_lvis(experiment, World(), **given)
    assert found is not None
    assert found["figures"]["ap"] == found["detail"]["lvis"]["fixed"]["ap"]
    assert {"rare", "common", "frequent", "ar100", "ar1000"} <= found["figures"].keys()
    assert (tmp_path / "run" / "lvis.rows").is_dir()
    assert STATE not in {file.name for file in (tmp_path / "run").iterdir()}
