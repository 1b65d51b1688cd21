"""The Explore tab's review: decisions that stay, and a run that learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app.box import Box
from app.engine import Engine
from app.index.build import indexing
from app.review.decisions import Decisions
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.learn_actions import LearnActions
from app.ui.explore.review import (
    LEARN_EVERY,
    ReviewState,
    boxes_of,
    decide,
    decide_rest,
    finish,
    next_photo,
    undo,
)
from app.ui.explore.review_actions import CHOOSES, DRAWS, ReviewActions
from app.ui.shared.access import Access
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.trouble import Trouble
from tests.app.ui.visitors import ELSEWHERE, HERE, TOKEN

PHOTOS = 16
NAMES = ("red thing", "blue <u &co")


def squares(number: int) -> list[tuple[str, tuple[int, int, int, int]]]:
    """What stands on a photo: classes and boxes."""
    random = np.random.default_rng(number)
    a, b, c, d = (int(v) for v in random.integers(0, 4, 4))
    # About as large as what the tiny model proposes.
    boxes = [(a, b, a + 76, b + 76), (80 + c, d, 156 + c, d + 76)]
    return list(zip(NAMES if number % 2 else NAMES[::-1], boxes, strict=True))


def make_run(engine: Engine, root: Path) -> IndexedRuns:
    """A run over photos with a red and a blue square each."""
    random = np.random.default_rng(0)
    (root / "photos").mkdir(parents=True)
    for number in range(PHOTOS):
        pixels = random.integers(100, 156, (80, 160, 3), dtype=np.uint8)
        for name, (x1, y1, x2, y2) in squares(number):
            tint = (220, 20, 20) if name == NAMES[0] else (20, 20, 220)
            pixels[y1:y2, x1:x2] = pixels[y1:y2, x1:x2] // 2 + np.array(tint, np.uint8) // 2
        Image.fromarray(pixels).save(root / "photos" / f"{number:02}.png")
    settings = settings_of(engine, "\n".join(NAMES), threshold=0.3, floor=0.02)
    run = Run.create(root / "runs" / "squares", settings, sources.find_images([root / "photos"]))
    with indexing(run, engine.predictor) as keep:
        list(process(run, engine.predictor, sources.read, keep=keep))
    run.close()
    access = Access(token=TOKEN)
    return IndexedRuns(engine, RunFolders(root / "runs", access), access)


@pytest.fixture
def runs(shared_engine: Engine, tmp_path: Path) -> IndexedRuns:
    return make_run(shared_engine, tmp_path)


@pytest.fixture
def opened(runs: IndexedRuns) -> IndexedRun:
    found = runs.open("squares", HERE)
    assert isinstance(found, IndexedRun)
    return found


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def test_skipped_photos_come_last_and_reviewed_ones_not() -> None:
    assert next_photo([3, 1, 2], [], []) == 3
    assert next_photo([3, 1, 2], [3], [1]) == 2
    assert next_photo([3, 1, 2], [3, 2], [1]) == 1
    assert next_photo([3, 1, 2], [1, 2, 3], []) is None


def test_decisions_are_kept_at_once_and_undone(opened: IndexedRun) -> None:
    image = opened.photos[0]
    row = opened.rows[image]
    state: Any = ReviewState().of_photo(opened, image)
    assert state.shown == tuple(opened.run.boxes(row))
    distinct = {box.xyxy: box for box in opened.run.stored(row)}
    more = (Box(NAMES[0], 0.2, (1.0, 1.0, 9.0, 9.0)), Box(NAMES[1], 0.1, (9.0, 9.0, 20.0, 20.0)))
    state = replace(state, shown=(*distinct.values(), *more)[:6], chosen=1)
    state = decide(opened, state, "right", "ann")
    assert state.chosen == 2
    state = decide(opened, state, "wrong", "ann")
    other = NAMES[state.shown[2].name == NAMES[0]]
    assert isinstance(decide(opened, state, "class", "ann", "dog"), Trouble)
    state = decide(opened, state, "class", "ann", other)
    assert [one.state for one in boxes_of(opened, state)[:4]] == [
        "accepted",
        "rejected",
        "renamed",
        "undecided",
    ]
    refused = finish(opened, state, "ann")
    assert isinstance(refused, Trouble) and "undecided" in refused.message
    with Decisions(opened.run.folder) as decisions:
        assert len(decisions.review(image).boxes) == 2, "another process sees them already"
    state = decide_rest(opened, state, False, "ann")
    assert state.chosen == 0
    assert isinstance(decide(opened, state, "right", "ann"), Trouble), "none is chosen"
    state = finish(opened, state, "ann")
    assert state.finished and state.since == 1
    state = undo(opened, state, "ann")
    assert not state.finished
    state = undo(opened, state, "ann")
    assert sum(one.state == "undecided" for one in boxes_of(opened, state)) == len(state.shown) - 3
    elsewhere = replace(state, image=opened.photos[-1])
    state = undo(opened, elsewhere, "ann")
    assert state.image == image, "the photo of the step is shown"
    for _ in range(2):
        state = undo(opened, state, "ann")
    with Decisions(opened.run.folder) as decisions:
        assert decisions.review(image).state == "new"
    assert isinstance(undo(opened, state, "ann"), Trouble)


def test_two_presses_or_four_numbers_draw_a_missing_box(runs: IndexedRuns) -> None:
    act = ReviewActions(runs)
    shown = act.begin("squares", ReviewState(), None, HERE)
    assert shown.name.choices and f"0 of {PHOTOS} photos are reviewed" in shown.status
    at = shown.state
    one = act.press("squares", at, DRAWS, NAMES[1], None, HERE, event(x=50, y=40))
    assert "One corner is set" in one.status
    two = act.press("squares", one.state, DRAWS, NAMES[1], None, HERE, event(x=20, y=900))
    assert two.state.corner is None
    opened = runs.open("squares", HERE)
    assert isinstance(opened, IndexedRun)
    added = boxes_of(opened, two.state)[-1]
    assert (added.box.name, added.box.xyxy, added.state) == (NAMES[1], (20, 40, 50, 80), "added")
    assert "blue &lt;u &amp;co · added" in two.view and "<u" not in two.view
    for corners, name in (("1,2,3", NAMES[0]), ("1,1,1,9", NAMES[0]), ("1,1,9,9", "dog")):
        told = act.add("squares", at, name, corners, None, HERE)
        assert "status hint" in told.status
    assert act.add("squares", at, NAMES[0], "1, 2, 30, 40", None, HERE).status.count("box") >= 1
    chosen = act.press("squares", two.state, CHOOSES, None, None, HERE, event(x=21, y=41))
    number = len(boxes_of(opened, chosen.state))
    assert 1 <= chosen.state.chosen <= number
    assert act.choose("squares", number, at, None, HERE).box.value == number
    assert "Review the run" in act.choose("squares", 1, ReviewState(), None, HERE).status
    refused = act.choose("squares", 1, at, None, ELSEWHERE).status
    assert "is no run that visitors may open" in refused


def test_the_run_learns_after_every_few_photos(runs: IndexedRuns) -> None:
    act, learning = ReviewActions(runs), LearnActions(runs)
    assert "No photo is reviewed yet" in learning.learn("squares", ReviewState(), HERE)[1]
    state, told = ReviewState(), []
    for _ in range(PHOTOS):
        shown = act.begin("squares", state, None, HERE)
        if shown.view == "":
            break
        state = shown.state
        opened = runs.open("squares", HERE)
        assert isinstance(opened, IndexedRun)
        number = int(opened.rows[state.image].file_name[:2])
        state = act.doing(lambda o, s, by: decide_rest(o, s, False, by))(
            "squares", state, None, HERE
        ).state
        for name, box in squares(number):
            corners = ", ".join(map(str, box))
            state = act.add("squares", state, name, corners, None, HERE).state
        state = act.doing(finish)("squares", state, None, HERE).state
        assert state.finished
        fresh, said = learning.learn_if_due("squares", state, HERE)
        if isinstance(said, str):
            told.append(said)
            state = fresh
    assert len(told) == PHOTOS // LEARN_EVERY
    assert f"Learned from {LEARN_EVERY} reviewed photos" in told[0]
    assert "red thing: " in told[-1] and "blue &lt;u" in told[-1]
    assert "+l" in Run(runs.runs.root / "squares").model_version
    assert f"All {PHOTOS} photos are reviewed" in act.begin("squares", state, None, HERE).status
    assert "words&#x27; boxes are back" in learning.unlearn("squares", HERE)
    assert "Nothing was learned" in learning.unlearn("squares", HERE)
    assert "is no run that visitors may open" in learning.unlearn("squares", ELSEWHERE)
    assert "is no run that visitors may open" in learning.learn("squares", state, ELSEWHERE)[1]


def test_a_photo_that_is_not_finished_stays(runs: IndexedRuns) -> None:
    act = ReviewActions(runs)
    shown = act.begin("squares", ReviewState(), None, HERE)
    assert act.next_if_finished("squares", shown.state, None, HERE).state is not shown.state
    skipped = act.skip("squares", shown.state, None, HERE)
    assert skipped.state.image != shown.state.image
    assert skipped.state.skipped == {shown.state.image}
