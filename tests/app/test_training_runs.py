"""Training runs read from their folders, also while they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.training_runs import Point, TrainingError, find_training_runs, read_run, thinned
from app.ui.train.actions import TrainActions, status_of
from tests.app.ui.visitors import HERE, RULES


def test_curves_figures_and_snapshots_are_read_while_the_log_is_written(training_run: Path) -> None:
    found = read_run(training_run)
    assert (found.step, found.steps, found.seconds) == (20, 40, 201.0)
    assert Point(10, "pairs/loss", 0.1) in found.losses
    assert {p.series for p in found.losses} == {"pairs/loss", "detection/loss"}
    assert found.figures == (Point(20, "ap", 3.5), Point(20, "ar100", 20.0))
    assert [p.value for p in found.speed] == [5.0, 5.0]
    assert [file.name for file in found.snapshots] == ["step-00000010.json", "step-00000020.json"]
    assert found.config["seed"] == 7
    assert find_training_runs(training_run.parent.parent) == [training_run]
    with pytest.raises(TrainingError, match=r"looked for experiment\.json"):
        find_training_runs(training_run / "alignments")
    assert "10 min" not in status_of(found) and "3 min left" in status_of(found)


def test_long_curves_are_thinned_to_their_end() -> None:
    points = tuple(Point(i, "a", i) for i in range(1000))
    kept = thinned(points, 100)
    assert len(kept) == 100
    assert kept[-1] == points[-1]


def test_a_snapshot_is_drawn_and_its_words_escaped(training_run: Path) -> None:
    actions = TrainActions(RULES)
    drawn = actions.alignments(str(training_run), "latest", HERE)
    assert "step 20" in drawn and "an orange space suit" in drawn
    file = training_run / "alignments" / "step-00000010.json"
    kept = json.loads(file.read_text())
    kept["photos"][0]["caption"] = "<script>alert(1)</script>"
    kept["photos"][0]["phrases"][0]["text"] = "<img src=x onerror=1>"
    file.write_text(json.dumps(kept))
    drawn = actions.alignments(str(training_run), str(file), HERE)
    assert "<script" not in drawn and "<img" not in drawn
    file.write_text("{")
    assert "cannot be shown" in actions.alignments(str(training_run), str(file), HERE)


@pytest.mark.browser
def test_the_tab_shows_a_run(page: Page, training_run: Path) -> None:
    page.get_by_role("tab", name="Train").click()
    page.fill("#train-root textarea, #train-root input", str(training_run.parent / "nowhere"))
    page.click("#train-find")
    expect(page.locator("#train-status .error")).to_contain_text("nowhere")
    page.fill("#train-root textarea, #train-root input", str(training_run.parent))
    page.click("#train-find")
    expect(page.locator("#train-status")).to_contain_text("step 20 of 40")
    expect(page.locator("#train-pictures .card")).to_have_count(4)
    expect(page.locator("#train-pictures")).to_contain_text("an orange space suit")
    expect(page.locator("#train-pairs svg, #train-pairs canvas").first).to_be_visible()
    log = training_run / "log.jsonl"  # the run goes on: its last line is finished
    log.write_text(log.read_text() + 'onds": 300.0, "pairs/loss": 0.02}\n')
    expect(page.locator("#train-status")).to_contain_text("step 30 of 40")
