"""The Explore tab's middle: words, boxes, copies and names over an indexed run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.engine import Engine
from app.index.build import index_folder, indexing
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.explore.ask import Answer, answer, keep
from app.ui.explore.ask_part import AskActions
from app.ui.explore.discovery_part import DiscoveryActions, with_name
from app.ui.explore.duplicates import Duplicates, as_csv, duplicates
from app.ui.explore.duplicates_part import DuplicatesActions
from app.ui.explore.endpoints import Endpoints
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns, with_index
from app.ui.explore.like import Example, LikeState, box_at, boxes_of, find_like, photo_beside
from app.ui.explore.like_part import LikeActions
from app.ui.explore.pressed import pressed_card, pressed_name, pressed_number, pressed_point
from app.ui.shared.access import Access
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.trouble import Trouble
from tests.app.ui.notices import notice
from tests.app.ui.visitors import ELSEWHERE, HERE, TOKEN
from tests.places import DEMO

EVIL = "<img src=x onerror=alert(1)> ${1+1} {{name}}.jpg"


@pytest.fixture(scope="session")
def explored(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: "kitchen", whose photos and classes have foreign names."""
    root = tmp_path_factory.mktemp("explored")
    photos = root / "photos"
    photos.mkdir()
    for name in ("coffee.jpg", "chelsea.jpg", "rocket.jpg"):
        shutil.copy(DEMO / name, photos / name)
    shutil.copy(DEMO / "coffee.jpg", photos / EVIL)
    settings = settings_of(shared_engine, "cat\n<u cup &co", threshold=0.03, floor=0.02)
    run = Run.create(root / "runs" / "kitchen", settings, sources.find_images([photos]))
    with indexing(run, shared_engine.predictor) as keep_photo:
        list(process(run, shared_engine.predictor, sources.read, keep=keep_photo))
    run.close()
    return root


@pytest.fixture
def runs(explored: Path, shared_engine: Engine, tmp_path: Path) -> IndexedRuns:
    """The same for a test that may write."""
    shutil.copytree(explored / "runs", tmp_path / "runs")
    access = Access(token=TOKEN)
    return IndexedRuns(shared_engine, RunFolders(tmp_path / "runs", access), access)


@pytest.fixture
def kitchen(runs: IndexedRuns) -> IndexedRun:
    found = runs.open_of_model("kitchen", HERE)
    assert isinstance(found, IndexedRun)
    return found


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def test_asking_runs_no_image_tower_and_kept_answers_show_the_same(
    kitchen: IndexedRun, shared_engine: Engine, tmp_path: Path
) -> None:
    passes = shared_engine.image_passes
    found = answer(kitchen, shared_engine, "dog\nred mug", 0.05)
    assert isinstance(found, Answer)
    assert sum(found.counts.values()) > 5 and found.missing == 0
    scores = [float(one.scores[0]) for one in found.best()]
    assert scores == sorted(scores, reverse=True)
    kept = keep(kitchen, shared_engine, "dog\nred mug", 0.05, tmp_path / "kept", "")
    assert kept.class_counts() == found.counts
    assert shared_engine.image_passes == passes
    for words, threshold in (("", 0.3), ("cat @high", 0.3), ("cat", 7.0)):
        assert isinstance(answer(kitchen, shared_engine, words, threshold), Trouble)


def test_the_page_escapes_names_and_counts(runs: IndexedRuns) -> None:
    ask = AskActions(runs)
    said, gallery = ask.ask("kitchen", "dog <i &co", 0.02, None, HERE)
    assert "boxes on" in said and "dog &lt;i &amp;co" in said and "<i" not in said
    assert "&lt;img src=x onerror" in gallery and "<img" not in gallery
    assert gallery.count("data:image/jpeg") == gallery.count('<button class="card"') > 1
    assert "Nothing above" in ask.ask("kitchen", "dog", 1.0, None, HERE).status
    kept = ask.keep("kitchen", "dog", 0.05, "<b>mine", HERE)
    assert "Kept as “b-mine”" in kept
    assert set(runs.runs.names(HERE)) == {"kitchen", "b-mine"}
    assert "was itself asked" in notice([ask.ask("b-mine", "cat", 0.3, None, HERE).status])
    assert "Type words" in ask.keep("kitchen", " ", 0.05, "", HERE)


def test_a_run_without_an_index_or_of_another_model_says_what_to_do(
    runs: IndexedRuns, kitchen: IndexedRun
) -> None:
    header = index_folder(kitchen.run) / "index.json"
    stored = json.loads(header.read_text())
    header.write_text(json.dumps({**stored, "checkpoint": "0" * 64}))
    for part in (
        AskActions(runs).ask("kitchen", "cat", 0.3, None, HERE),
        DiscoveryActions(runs).find("kitchen", None, HERE),
    ):
        assert "Start the app with the run&#x27;s model" in part[0]
    assert isinstance(runs.open("kitchen", HERE), IndexedRun), "boxes need no words"
    header.write_text("{")
    assert isinstance(with_index(kitchen.run), Trouble)
    shutil.rmtree(index_folder(kitchen.run))
    found = with_index(kitchen.run)
    assert isinstance(found, Trouble) and "Start its photos again in the Batch tab" in found.message


def test_no_part_hands_out_a_run_of_others(runs: IndexedRuns, tmp_path: Path) -> None:
    refused = "is no run that visitors may open"
    like, copies = LikeActions(runs), DuplicatesActions(runs, tmp_path / "lists")
    for answered in (
        AskActions(runs).ask("kitchen", "cat", 0.3, None, ELSEWHERE).status,
        AskActions(runs).keep("kitchen", "cat", 0.3, "", ELSEWHERE),
        like.turn("kitchen", "", LikeState(), None, ELSEWHERE).status,
        like.like("kitchen", LikeState(), None, ELSEWHERE).status,
        like.open("kitchen", LikeState(), None, ELSEWHERE, event(photo=1, box=None)).status,
        copies.find("kitchen", None, ELSEWHERE).status,
        DiscoveryActions(runs, ["cat"]).find("kitchen", None, ELSEWHERE).status,
    ):
        assert refused in answered
    with pytest.raises(gr.Error, match=refused):
        copies.list("kitchen", ELSEWHERE)
    with pytest.raises(gr.Error, match=refused):
        Endpoints(runs).ask("kitchen", "cat", ELSEWHERE)


def test_a_pressed_box_or_place_is_an_example(kitchen: IndexedRun) -> None:
    image = kitchen.photos[0]
    small = min(
        (box.xyxy for box in boxes_of(kitchen, image)), key=lambda c: (c[2] - c[0]) * (c[3] - c[1])
    )
    middle = (small[0] + small[2]) / 2, (small[1] + small[3]) / 2
    assert box_at(kitchen, image, *middle) == small
    assert box_at(kitchen, image, -5, -5) is None
    kitchen.run.apply(kitchen.run.view.prompts, 1.0)
    assert boxes_of(kitchen, image) == []
    region = box_at(kitchen, image, *middle)
    assert region is not None and region[0] <= middle[0] <= region[2]
    found = find_like(kitchen, [Example(image, region, True)])
    assert not isinstance(found, Trouble)
    assert found[0].image == image and found[0].similarity == pytest.approx(1, abs=0.02)
    assert len(found) == len(kitchen.photos)
    unlike = find_like(kitchen, [Example(image, region, True), Example(image, region, False)])
    assert not isinstance(unlike, Trouble)
    assert isinstance(find_like(kitchen, [Example(image, region, False)]), Trouble)
    assert isinstance(find_like(kitchen, [Example(image, (0, 0, 0.5, 0.5), True)]), Trouble)


def test_photos_are_found_by_name_round_and_round(kitchen: IndexedRun) -> None:
    names = kitchen.names()
    assert names[kitchen.photos[0]].startswith("<img")
    coffee = photo_beside(kitchen, "COFFEE")
    assert coffee is not None and names[coffee] == "coffee.jpg"
    assert photo_beside(kitchen, "coffee", coffee) == coffee
    first, last = kitchen.photos[0], kitchen.photos[-1]
    assert photo_beside(kitchen, "", last) == first
    assert photo_beside(kitchen, "", first, after=False) == last
    assert photo_beside(kitchen, "nowhere") is None


def test_what_scripts_tell_may_be_anything() -> None:
    assert pressed_card({"photo": 3, "box": [1, 2, 3, 4.5]}) == (3, (1, 2, 3, 4.5))
    for box in ([3, 2, 1, 4], None, [1, 2], ["1", 2, 3, 4]):
        assert pressed_card({"photo": 3, "box": box}) == (3, None)
    assert pressed_point({"x": 1, "y": 2.5}) == (1, 2.5)
    assert pressed_number({"number": 2}) == 2 and pressed_name({"name": "cat"}) == "cat"
    for wrong in (None, {}, [], {"photo": "1", "x": 1, "number": "2", "name": 3}, {"photo": [1]}):
        assert pressed_card(wrong) is None and pressed_point(wrong) is None
        assert pressed_number(wrong) is None and pressed_name(wrong) == ""


def test_examples_gather_until_one_begins_anew(runs: IndexedRuns, kitchen: IndexedRun) -> None:
    like = LikeActions(runs)
    shown = like.turn("kitchen", "img", LikeState(), None, HERE)
    assert "&lt;img" in shown.view and "<img" not in shown.view
    assert "&lt;u cup &amp;co" in shown.view and "<u" not in shown.view
    assert "no indexed photo" in like.turn("kitchen", "zzz", LikeState(), None, HERE).status
    assert "Choose a box" in like.like("kitchen", shown.state, None, HERE).status
    chosen = like.choose("kitchen", 1, shown.state, None, HERE)
    assert chosen.box.value == 1 and 'aria-pressed="true"' in chosen.view
    found = like.like("kitchen", chosen.state, None, HERE)
    assert "4 photos most like that" in found.status
    again = like.press("kitchen", found.state, None, HERE, event(number=2))
    unlike = like.like("kitchen", again.state, None, HERE, positive=False)
    assert [one.positive for one in unlike.state.examples] == [True, False]
    assert like.clear(unlike.state).state.examples == ()
    other = replace(unlike.state, run="another")
    assert "Choose a box" in like.like("kitchen", other, None, HERE).status


def test_copies_are_grouped_and_listed(
    runs: IndexedRuns, kitchen: IndexedRun, tmp_path: Path
) -> None:
    found = duplicates(kitchen)
    assert isinstance(found, Duplicates)
    names = kitchen.names()
    group = next(g for g in found.groups if {names[i] for i in g.images} >= {"coffee.jpg", EVIL})
    assert found.spare == sum(len(one.images) - 1 for one in found.groups)
    head, first, *_ = as_csv([group], names).splitlines()
    assert head == "group,file_name,proposal,mirrored"
    assert first.startswith("1,") and ",keep," in first
    said, shown = DuplicatesActions(runs, tmp_path / "lists").find("kitchen", None, HERE)
    assert "show what another one shows" in said
    assert "keep · 600 × 400" in shown and "<img" not in shown
    file = Path(DuplicatesActions(runs, tmp_path / "lists").list("kitchen", HERE))
    assert file.read_bytes().decode() == as_csv(found.groups, names)


def test_names_are_ranked_and_one_joins_the_words(runs: IndexedRuns) -> None:
    words = ["cat", "coffee cup", "a rocket <u &co", "dog", "tree"]
    reported: list[tuple[int, int]] = []

    def progress(done: tuple[int, int], desc: str = "") -> None:
        reported.append(done)

    said, shown = DiscoveryActions(runs, words).find("kitchen", None, HERE, progress)  # type: ignore[arg-type]
    assert "5 of 5 names" in said
    assert shown.count("data-name=") == 5 and "<u" not in shown
    assert reported[0] == (5, 9) and reported[-1] == (9, 9)
    assert with_name("", "a cup, red") == '"a cup, red"'
    assert with_name("cat", "dog") == "cat\ndog" == with_name("cat\ndog", "dog")
    for wrong in ("", "x" * 300):
        assert with_name("cat", wrong) == "cat"


def test_the_endpoint_answers_in_coco(runs: IndexedRuns) -> None:
    told = Endpoints(runs).ask("kitchen", "cat, dog", HERE, 0.04)
    assert {one["name"] for one in told["categories"]} == {"cat", "dog"}
    assert len(told["images"]) == 4 and told["annotations"]
    assert all(one["score"] >= 0.04 for one in told["annotations"])
    with pytest.raises(gr.Error, match="No words"):
        Endpoints(runs).ask("kitchen", "", HERE)
