from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detclipv2 import PRESETS
from detclipv2.serving import ServingConfig
from tests.train.loop.drawn import drawn_experiment
from train import ablate as command
from train.ablate import fingerprint
from train.ablations.bases import nano, swin_t
from train.ablations.row import Row, keep_streams
from train.ablations.tables import ROWS, find_rows
from train.data.sample import pair
from train.experiment import describe, epoch_steps
from train.experiment_names import load_experiment
from train.nano import stages
from train.nano import streams as nano_streams

ROW = {row.name: row for row in ROWS}
OWN = [row for row in ROWS if row.change is not None]


def test_every_row_of_the_tables_is_there_with_a_name_of_its_own() -> None:
    assert Counter(row.table for row in ROWS) == {
        "2a": 6,
        "2b": 3,
        "2c": 3,
        "2d": 4,
        "2e": 4,
        "2f": 4,
        "3": 4,
        "4": 4,
        "5": 3,
        "12": 4,
        "13": 7,
        "open": 5,
        "types": 6,
    }
    assert len(ROW) == len(ROWS)
    assert {r.name for r in ROWS} - {r.name for r in OWN} == {"5/GLIP-T", "5/DetCLIP-T"}
    for row in ROWS:
        assert not row.against or ROW[row.against].table == row.table != "5"
        assert row.table in ("5", "open", "types") or row.paper.ap is not None


def test_figures_are_the_papers() -> None:
    sums = {
        "2a": 180.5,
        "2b": 92.0,
        "2c": 92.0,
        "2d": 123.5,
        "2e": 121.4,
        "2f": 121.6,
        "3": 133.1,
        "4": 138.7,
        "12": 123.8,
        "13": 260.7,
    }
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
    "model.quality": True,
    "streams.detection.task.quality": 1.0,
    "streams.grounding.task.quality": 1.0,
}
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
    "open/oln": {**_QUALITY, "serving.ranking": "both"},
    "open/cleaning drop": {_TASK + "support": 0.02},
    "open/cleaning weigh": {_TASK + "support": 0.02, _TASK + "noise": "weigh"},
    "open/imbalance temperature=0.5": {"temperature": 0.5},
}


_STREAMS = {"O365": "detection", "GoldG": "grounding", "IN1k": "tags"}
_NOTHING = {
    "2a/text_batch",
    "2b/max",
    "2c/text_to_image",
    "2d/k=100",
    "2e/tau=0.5",
    "2f/lambda=0.1",
    "12/320",
    "open/as the paper",
}


def test_only_the_papers_own_choices_are_the_base() -> None:
    assert {row.name for row in OWN if not row.data} - _CHANGES.keys() == _NOTHING


@pytest.mark.parametrize("row", [r for r in OWN if not r.data], ids=lambda r: r.name)
def test_a_row_differs_from_the_base_in_what_it_says_and_in_nothing_else(row: Row) -> None:
    base = nano(row)
    assert base == stages.joint()
    assert differences(describe(base), describe(row.experiment(base))) == _CHANGES.get(row.name, {})


@pytest.mark.parametrize("row", [r for r in OWN if r.data], ids=lambda r: r.name)
def test_a_row_of_data_has_its_streams_and_each_keeps_its_steps(row: Row) -> None:
    base = nano(row)
    got = row.experiment(base)
    wanted = {_STREAMS.get(name, "pairs") for name in row.data}
    assert {s.name for s in got.streams} == wanted
    assert all(stream in base.streams for stream in got.streams)
    epochs = got.loop.steps / epoch_steps(got.streams)
    assert epochs == pytest.approx(base.loop.steps / epoch_steps(base.streams), abs=0.01)
    rest = differences(describe(base), describe(got))
    without = {"model.deformable": False} if "without deform" in row.name else {}
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
    streams = {s.name for s in got.streams}
    assert ("tags" in streams) == ("IN1k" in row.data)
    if row.data:
        assert streams == {_STREAMS.get(name, "pairs") for name in row.data}
    if row.table == "12":
        assert got.streams[1].batches.sizes == (int(row.label),)
    if row.table == "13" and "IN1k" in row.data:
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
    base = replace(drawn_experiment(tmp_path / "x.json", tmp_path), serving=ServingConfig(size=64))
    changed = differences(describe(base), describe(ROW["open/oln"].experiment(base)))
    assert changed == {
        "model.quality": True,
        "serving.ranking": "both",
        "streams.detection.task.quality": 1.0,
    }


def test_rows_are_found_by_their_names() -> None:
    assert [r.name for r in find_rows("2d", ["k=50", "2D/K=200"])] == ["2d/k=50", "2d/k=200"]
    assert len(find_rows("2")) == 24 and find_rows("all") == OWN
    assert [r.name for r in find_rows("5")] == ["5/DetCLIPv2-T"]
    for table, labels, message in [
        ("9", [], "no table '9'; known: 2a"),
        ("2d", ["k=3"], "no row 'k=3' in 2d; known: 2d/k=25"),
        ("5", ["GLIP-T"], "quoted only"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_rows(table, labels)
    rows, words = command._chosen(["2d", "k=50", "streams.pairs.weight=2", "k=25"])
    assert [r.label for r in rows] == ["k=50", "k=25"] and words == ["streams.pairs.weight=2"]


def test_captions_and_names_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mixed = [
        pair(Path(f"{i}.jpg"), ["a dog"], caption=f"{i}" if i % 2 else None) for i in range(52)
    ]
    monkeypatch.setattr(nano_streams, "pair_samples", lambda *_: (mixed, [1.0] * 52))
    for row, count in (("4/O365+GoldG+CC15M", 26), ("4/O365+CC3M", 6)):
        stream = next(s for s in nano(ROW[row]).streams if s.name == "pairs")
        samples, repeats = stream.data(tmp_path, tmp_path)
        assert len(samples) == len(repeats) == count and all(s.caption for s in samples)
    smoke = load_experiment("nano:joint", smoke=True)
    assert smoke.loop.steps == 4
    assert [s.name for s in smoke.streams] == ["detection", "grounding", "pairs"]
    assert 2000 < stages.joint().loop.steps < 5000
