from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detclipv2 import PRESETS
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from tests.train.test_engine import drawn_experiment
from tests.train.test_evaluate import root as ov_mini  # noqa: F401 - a fixture
from train import ablate as command
from train.ablate import Settings, ablate, experiment_of, fingerprint
from train.ablations.bases import nano, swin_t
from train.ablations.judges import on_lvis, on_ov_mini
from train.ablations.row import Row, epoch_steps, keep_streams
from train.ablations.tables import ROWS, find_rows
from train.configs import nano_joint
from train.data.sample import pair
from train.distributed import World
from train.engine import LOG
from train.experiment import Experiment, describe
from train.metrics.detection import read_truth
from train.pretrain import load_experiment
from train.report import FAILED, FIGURES, read_runs
from train.state import STATE
from train.zero_shot import zero_shot_boxes

ROW = {row.name: row for row in ROWS}
OWN = [row for row in ROWS if row.change is not None]


def test_every_row_of_the_tables_is_there_with_a_name_of_its_own() -> None:
    assert Counter(row.table for row in ROWS) == {
        "2a": 6, "2b": 3, "2c": 3, "2d": 4, "2e": 4, "2f": 4, "3": 4, "4": 4, "5": 3, "12": 4,
        "13": 7, "open": 5,
    }  # fmt: skip
    assert len(ROW) == len(ROWS)
    assert {r.name for r in ROWS} - {r.name for r in OWN} == {"5/GLIP-T", "5/DetCLIP-T"}
    for row in ROWS:
        assert not row.against or ROW[row.against].table == row.table != "5"
        assert row.table in ("5", "open") or row.paper.ap is not None


def test_figures_are_the_papers() -> None:
    sums = {
        "2a": 180.5, "2b": 92.0, "2c": 92.0, "2d": 123.5, "2e": 121.4, "2f": 121.6, "3": 133.1,
        "4": 138.7, "12": 123.8, "13": 260.7,
    }  # fmt: skip
    for table, total in sums.items():
        figures = [row.paper.ap or 0 for row in ROWS if row.table == table]
        assert sum(figures) == pytest.approx(total), table
    assert sum(row.paper.memory or 0 for row in ROWS) == pytest.approx(66.4 + 75.0)
    assert sum(row.paper.hours or 0 for row in ROWS) == pytest.approx(11_500 + 3_097.6)
    for row in ROWS:
        if row.paper.parts:
            assert min(row.paper.parts) <= (row.paper.ap or 0) <= max(row.paper.parts), row.name
    best = {row.paper.parts for row in ROWS if row.paper.ap == 31.3} - {None}
    assert best == {(29.4, 31.7, 31.3)}
    assert ROW["2b/softmax"].paper.cost() == "26 GB"
    assert ROW["5/DetCLIPv2-T"].paper.cost() == "2100 GPU-h, 25.7 FPS"


def differences(one: Any, other: Any, path: str = "") -> dict[str, Any]:
    """Dotted keys of what `other` has differently, and its values there; streams by name."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        parts = [differences(one.get(k), other.get(k), f"{path}.{k}".strip(".")) for k in keys]
        return {key: value for part in parts for key, value in part.items()}
    named = isinstance(one, list) and one and isinstance(one[0], dict)
    if named and isinstance(other, list):
        return differences({s["name"]: s for s in one}, {s["name"]: s for s in other}, path)
    return {} if one == other else {path: other}


_QUALITY = {
    "model.quality": True, "streams.detection.task.quality": 1.0,
    "streams.grounding.task.quality": 1.0,
}  # fmt: skip
_TASK = "streams.pairs.task."
_CHANGES: dict[str, dict[str, Any]] = {
    "2a/foreground": {**_QUALITY, _TASK + "objectness": "foreground"},
    "2a/iou": {**_QUALITY, _TASK + "objectness": "iou"},
    "2a/centerness": {_TASK + "objectness": "centerness"},
    "2a/text_sample": {_TASK + "objectness": "text_sample"},
    "2a/text_batch_centerness": {_TASK + "objectness": "text_batch_centerness"},
    "2b/largest": {_TASK + "region": "largest"},
    "2b/softmax": {_TASK + "matching": "softmax"},
    "2c/image_to_text": {_TASK + "side": "image_to_text"},
    "2c/both": {_TASK + "side": "both"},
    **{f"2d/k={k}": {_TASK + "k": k} for k in (25, 50, 200)},
    **{f"2e/tau={t}": {_TASK + "temperature": float(t)} for t in ("1", "0.15", "0.07")},
    **{f"2f/lambda={w}": {_TASK + "weight": float(w)} for w in ("0.03", "0.3", "1")},
    "12/224": {"streams.pairs.batches.sizes": [96]},
    "12/256": {"streams.pairs.batches.sizes": [128]},
    "12/384": {"streams.pairs.batches.sizes": [192]},
    "open/oln": {**_QUALITY, "model.localisation": "both"},
    "open/cleaning drop": {_TASK + "support": 0.02},
    "open/cleaning weigh": {_TASK + "support": 0.02, _TASK + "noise": "weigh"},
    "open/imbalance temperature=0.5": {"temperature": 0.5},
}  # fmt: skip


_NOTHING = {
    "2a/text_batch", "2b/max", "2c/text_to_image", "2d/k=100", "2e/tau=0.5", "2f/lambda=0.1",
    "12/320", "open/as the paper",
}  # fmt: skip


def test_only_the_papers_own_choices_are_the_base() -> None:
    assert {row.name for row in OWN if not row.data} - _CHANGES.keys() == _NOTHING


@pytest.mark.parametrize("row", [r for r in OWN if not r.data], ids=lambda r: r.name)
def test_a_row_differs_from_the_base_in_what_it_says_and_in_nothing_else(row: Row) -> None:
    base = nano(row)
    assert base == nano_joint.experiment()
    assert differences(describe(base), describe(row.experiment(base))) == _CHANGES.get(row.name, {})


@pytest.mark.parametrize("row", [r for r in OWN if r.data], ids=lambda r: r.name)
def test_a_row_of_data_has_its_streams_and_each_keeps_its_steps(row: Row) -> None:
    base = nano(row)
    got = row.experiment(base)
    streams = {"O365": "detection", "GoldG": "grounding", "IN1k": "tags"}
    wanted = {streams.get(name, "pairs") for name in row.data}
    assert {s.name for s in got.streams} == wanted
    assert all(stream in base.streams for stream in got.streams)
    epochs = got.loop.steps / epoch_steps(got.streams)
    assert epochs == pytest.approx(base.loop.steps / epoch_steps(base.streams), abs=0.01)
    rest = differences(describe(base), describe(got))
    without = {"model.deformable": False} if "without" in row.name else {}
    dropped = {f"streams.{s.name}": None for s in base.streams if s.name not in wanted}
    steps = {"loop.steps": got.loop.steps} if dropped else {}
    assert rest == {**without, **dropped, **steps}
    assert (got.model.width > PRESETS["nano"].width) == row.large
    if "CC3M" in row.data or "CC15M" in row.data:
        (pairs,) = (s for s in got.streams if s.name == "pairs")
        assert pairs.volume and (pairs.volume.samples < 9_000) == ("CC3M" in row.data)


@pytest.mark.parametrize("row", OWN, ids=lambda r: r.name)
def test_the_papers_own_settings_can_be_built(row: Row) -> None:
    got = row.experiment(swin_t(row))
    assert got == row.experiment(swin_t(row))
    assert got.model.name == ("swin_l" if row.large else "swin_t")
    assert [s.name for s in got.streams if s.name == "tags"] == ["tags"] * ("IN1k" in row.data)
    if row.table == "12":
        assert got.streams[1].batches.sizes == (int(row.label),)
    if "IN1k" in row.data:
        other = swin_t(dataclasses.replace(row, data=row.data[:-1]))
        # Three ImageNets in batches of 6,144, twelve times.
        more = 12 * 3 * 1_281_167 / 6144
        assert got.loop.steps - other.loop.steps == pytest.approx(more, abs=12)
        assert got.streams[-1].task.k == 1 and got.streams[-1].task.side == "image_to_text"
    if row.name in ("2a/text_batch", "2d/k=100", "13/T O365+CC3M", "4/O365+CC3M"):
        assert fingerprint(got) == fingerprint(swin_t(ROW["12/320"]))


def test_a_base_without_a_rows_stream_is_refused(tmp_path: Path) -> None:
    base = drawn_experiment(tmp_path / "x.json", tmp_path)
    with pytest.raises(ValueError, match="no stream tags; the base has detection, grounding, pair"):
        ROW["13/T full+IN1k"].experiment(base)
    with pytest.raises(ValueError, match="no stream 'pairs' to change"):
        ROW["2d/k=50"].experiment(keep_streams(base, ["detection"]))
    with pytest.raises(ValueError, match="another method"):
        ROW["5/GLIP-T"].experiment(base)


def test_quality_is_learned_only_where_boxes_are(tmp_path: Path) -> None:
    base = drawn_experiment(tmp_path / "x.json", tmp_path)
    changed = differences(describe(base), describe(ROW["open/oln"].experiment(base)))
    assert changed == {
        "model.quality": True, "model.localisation": "both",
        "streams.detection.task.quality": 1.0,
    }  # fmt: skip


def test_rows_are_found_by_their_names() -> None:
    assert [r.name for r in find_rows("2d", ["k=50", "2D/K=200"])] == ["2d/k=50", "2d/k=200"]
    assert len(find_rows("2")) == 24 and find_rows("all") == OWN
    assert [r.name for r in find_rows("5")] == ["5/DetCLIPv2-T"]
    for table, labels, message in [
        ("9", [], "no table '9'; known: 2a"), ("2d", ["k=3"], "no row 'k=3' in 2d; known: 2d/k=25"),
        ("5", ["GLIP-T"], "quoted only"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            find_rows(table, labels)
    rows, words = command._chosen(["2d", "k=50", "streams.pairs.weight=2", "k=25"])
    assert [r.label for r in rows] == ["k=50", "k=25"] and words == ["streams.pairs.weight=2"]


def test_captions_and_names_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mixed = [pair(Path(f"{i}.jpg"), ["a dog"], caption=f"{i}" if i % 2 else None)
             for i in range(52)]  # fmt: skip
    monkeypatch.setattr(nano_joint, "pair_samples", lambda *_: (mixed, [1.0] * 52))
    for fewer, count in ((False, 26), (True, 6)):
        stream = next(s for s in nano_joint.apart(fewer=fewer).streams if s.name == "pairs")
        samples, repeats = stream.data(tmp_path, tmp_path)
        assert len(samples) == len(repeats) == count and all(s.caption for s in samples)
    smoke = load_experiment("nano_joint", smoke=True)
    assert smoke.loop.steps == 4
    assert [s.name for s in smoke.streams] == ["detection", "grounding", "pairs"]
    assert 2000 < nano_joint.experiment().loop.steps < 5000


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
        model = DetCLIPv2.from_pretrained(experiment.out / "checkpoint")
        predictor = Predictor(model, cache_dir=experiment.out / "cache")
        figures, recall = zero_shot_boxes(
            predictor, read_truth(self._file), self._file.parent / "images", 64
        )
        weights = sum(float(p.detach().double().norm()) for p in model.parameters())
        found = {"ap": figures.ap, "ar100": recall, "weights": weights, "rare": float("nan")}
        return {"figures": found, "detail": {}}


ROWS_OF_THE_TEST = [ROW["2d/k=25"], ROW["2d/k=100"], ROW["2f/lambda=1"]]
SETTINGS = Settings(
    "drawn", overrides=("streams.pairs.task.k=100", "streams.pairs.weight=3")
)  # fmt: skip


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
        "2d/k=25": 2, "2d/k=100": 2, "2f/lambda=1": 2,
    }  # fmt: skip
    assert not runs.missing
    written = json.loads(next(whole.glob("2d-k-25-*/seed1/figures.json")).read_text())
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
        ["seed 1 not begun"], ["seed 1 not begun"], ["seed 0 got to step 7", "seed 1 not begun"],
    ]  # fmt: skip
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
    # Without the overrides the row is another experiment, and this another ablation.
    plain = Settings("drawn")
    with pytest.raises(ValueError, match="take another --out"):
        ablate(second, drawn.base, drawn.judge, plain, root=tmp_path, out=tmp_path, seeds=1)
    # The settings are the same, what they stand for is not.
    with pytest.raises(ValueError, match="another base"):
        ablate(
            second, lambda row, _: dataclasses.replace(drawn.base(row), temperature=0.3),
            drawn.judge, SETTINGS, root=tmp_path, out=tmp_path, seeds=1,
        )  # fmt: skip
    assert len(drawn.judged) == 1


def test_a_row_that_cannot_be_trained_does_not_stop_the_others(
    drawn_set: Path, tmp_path: Path
) -> None:
    drawn = Drawn(drawn_set)

    def wild(base: Experiment) -> Experiment:
        streams = (dataclasses.replace(
            base.streams[0], task=dataclasses.replace(base.streams[0].task, giou=1e40)
        ),)  # fmt: skip
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
    whole, part = nano_joint.experiment(), experiment_of(row, nano, Settings("nano", steps=1000))
    own = epoch_steps(part.streams) / epoch_steps(whole.streams) * 1000
    assert part.loop.steps == pytest.approx(own, abs=1)
    # The paper's O365 run has no pairs to change.
    paper = experiment_of(row, swin_t, Settings("swin_t", overrides=("streams.pairs.task.k=30",)))
    assert [s.name for s in paper.streams] == ["detection"]
    with pytest.raises(ValueError, match="unknown key"):
        experiment_of(row, nano, Settings("nano", overrides=("speed=9",)))


def test_texts_are_encoded_once_for_all_runs(drawn_set: Path, tmp_path: Path) -> None:
    drawn = Drawn(drawn_set)
    (tmp_path / "texts.pt").write_bytes(b"kept")
    seen: list[bytes] = []

    def judge(experiment: Experiment, here: World) -> dict[str, Any]:
        seen.append((experiment.out / "texts.pt").read_bytes())
        (experiment.out / "texts.pt").write_bytes(b"kept and more")
        return {"figures": {"ap": 1.0}, "detail": {}}

    ablate(ROWS_OF_THE_TEST[:2], drawn.base, judge, SETTINGS, root=tmp_path, out=tmp_path, seeds=1)
    assert seen == [b"kept", b"kept and more"]
    assert not list(tmp_path.glob("*/*/texts.pt"))


def test_the_fingerprint_leaves_out_what_changes_no_result(drawn_set: Path, tmp_path: Path) -> None:
    one = drawn_experiment(drawn_set, tmp_path)
    other = dataclasses.replace(one, out=Path("x"), root=Path("y"), seed=3, threads=7, workers=2)
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(dataclasses.replace(one, temperature=0.9))


def test_the_command_lists_trains_and_reports(
    drawn_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ROWS)
    assert lines[0].split() == ["2a/foreground", "AP", "28.4", "(26.6/28.2/28.8)"]
    drawn = Drawn(drawn_set)
    monkeypatch.setitem(command.BASES, "nano", drawn.base)
    monkeypatch.setattr(command, "on_ov_mini", drawn.judge)
    told = ["2d", "k=25", "k=100", "--seeds", "2", "--steps", "3", "--out", str(tmp_path)]
    command.main([*told, "streams.pairs.task.k=100", "--figure", "weights"])
    report = (tmp_path / "report.md").read_text()
    assert "| k=25 | 30.6 |" in report and "| **k=100** | 31.3 |" in report
    assert "k=25 against k=100:" in report and (tmp_path / "report-2d.png").stat().st_size > 5000
    steps = [json.loads(line)["step"] for line in next(tmp_path.glob(f"*/seed0/{LOG}")).open()]
    assert steps == [1, 2, 3]
    for wrong, message in [
        (["9"], "no table"), (["2d", "k=3"], "no row"), (["2d", "speed=3"], "unknown key"),
    ]:  # fmt: skip
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
    tiny_checkpoint: Path, tmp_path: Path, ov_mini: Path  # noqa: F811
) -> None:  # fmt: skip
    experiment = _judged(tmp_path, tiny_checkpoint, ov_mini)
    found = on_ov_mini(experiment, World())
    assert found is not None
    assert {"ap", "ap50", "ar100", "ap50 other sets", "phrase recall@1"} <= found["figures"].keys()
    groups = found["detail"]["coco_dev"]["groups"]
    assert all(found["figures"][f"ap50 {g}"] == v["ap50"] for g, v in groups.items()) and groups
    assert on_ov_mini(experiment, World(rank=1, size=2)) is None


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
