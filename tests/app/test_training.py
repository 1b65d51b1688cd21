"""Training runs read from their folders, also while they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.training import Point, TrainingError, find_training_runs, read_run, thinned
from app.ui import train_tab
from detclipv2.model import DetCLIPv2
from train.snapshots import write_snapshot


@pytest.fixture
def run(tmp_path: Path, tiny_model: DetCLIPv2) -> Path:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps({"loop": {"steps": 40}, "seed": 7}))
    lines = [
        {"kind": "train", "step": s, "seconds": 10.0 * s, "pairs/loss": 1 / s, "pairs/gradient": 9,
         "detection/loss": 2 / s, "lr": 0.1, "images_per_second": 5.0} for s in (10, 20)
    ]  # fmt: skip
    lines.append({"kind": "eval", "step": 20, "seconds": 201.0, "ap": 3.5, "ar100": 20.0})
    text = "\n".join(map(json.dumps, lines)) + '\n{"kind": "train", "step": 30, "sec'
    (folder / "log.jsonl").write_text(text)
    write_snapshot(tiny_model, folder, 10)
    write_snapshot(tiny_model, folder, 20)
    return folder


def test_curves_figures_and_snapshots_are_read_while_the_log_is_written(run: Path) -> None:
    found = read_run(run)
    assert (found.step, found.steps, found.seconds) == (20, 40, 201.0)
    assert Point(10, "pairs/loss", 0.1) in found.losses
    assert {p.series for p in found.losses} == {"pairs/loss", "detection/loss"}
    assert found.figures == (Point(20, "ap", 3.5), Point(20, "ar100", 20.0))
    assert [p.value for p in found.speed] == [5.0, 5.0]
    assert [file.name for file in found.snapshots] == ["step-00000010.json", "step-00000020.json"]
    assert found.config["seed"] == 7
    assert find_training_runs(run.parent.parent) == [run]
    with pytest.raises(TrainingError, match=r"looked for experiment\.json"):
        find_training_runs(run / "alignments")
    assert "10 min" not in train_tab.told(found) and "3 min left" in train_tab.told(found)


def test_long_curves_are_thinned_to_their_end() -> None:
    points = tuple(Point(i, "a", i) for i in range(1000))
    kept = thinned(points, 100)
    assert len(kept) == 100
    assert kept[-1] == points[-1]


def test_a_snapshot_is_drawn_and_its_words_escaped(run: Path) -> None:
    drawn = train_tab.alignments(str(run), "latest")
    assert "step 20" in drawn and "an orange space suit" in drawn
    file = run / "alignments" / "step-00000010.json"
    told = json.loads(file.read_text())
    told["photos"][0]["caption"] = "<script>alert(1)</script>"
    told["photos"][0]["phrases"][0]["text"] = "<img src=x onerror=1>"
    file.write_text(json.dumps(told))
    drawn = train_tab.alignments(str(run), str(file))
    assert "<script" not in drawn and "<img" not in drawn
    file.write_text("{")
    assert "cannot be shown" in train_tab.alignments(str(run), str(file))


@pytest.mark.browser
def test_the_tab_shows_a_run(page: Page, run: Path) -> None:
    page.get_by_role("tab", name="Train").click()
    page.fill("#train-root textarea, #train-root input", str(run.parent / "nowhere"))
    page.click("#train-find")
    expect(page.locator("#train-status .error")).to_contain_text("nowhere")
    page.fill("#train-root textarea, #train-root input", str(run.parent))
    page.click("#train-find")
    expect(page.locator("#train-status")).to_contain_text("step 20 of 40")
    expect(page.locator("#train-pictures .card")).to_have_count(4)
    expect(page.locator("#train-pictures")).to_contain_text("an orange space suit")
    expect(page.locator("#train-losses svg, #train-losses canvas").first).to_be_visible()
