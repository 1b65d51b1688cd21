"""The Explore tab in Chromium: its five parts, and scores that improve after ten decisions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import BrowserContext, Page, expect

from app.engine import Engine
from app.review.decisions import Decisions
from app.runs.records import ImageRow
from app.runs.store import Run
from app.ui.build import build_app
from app.ui.request_guard import ServedNames
from app.ui.serve import guarded
from app.ui.shared.access import TOKEN_HEADER
from app.ui.shared.run_folders import RUNS_VARIABLE
from detclipv2.labeling.matching import iou
from tests.app.ui.test_contrast import MEASURE
from tests.app.ui.test_explore import EVIL
from tests.app.ui.test_explore import explored as explored
from tests.app.ui.test_explore_review import PHOTOS, make_run, squares
from tests.app.ui.visitors import RULES, TOKEN, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(explored: Path, shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs "kitchen" and "squares"."""
    root = tmp_path_factory.mktemp("pages")
    make_run(shared_engine, root)
    shutil.copytree(explored / "runs" / "kitchen", root / "runs" / "kitchen")
    return root / "runs"


@pytest.fixture(scope="module")
def address(shared_engine: Engine, folder: Path) -> Iterator[str]:
    """The page over these runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNS_VARIABLE, str(folder))
        page = guarded(build_app(shared_engine, RULES), ServedNames())
    with serving(page) as served:
        yield served


@pytest.fixture
def explore(browser: BrowserContext, address: str) -> Iterator[Page]:
    """A fresh page of the operator at the tab; errors in its console fail the test."""
    wrong: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: wrong.append(f"uncaught: {error}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.goto(f"{address}#token={quote(TOKEN)}")
    page.get_by_role("tab", name="Explore").click()
    yield page
    page.close()
    assert wrong == []


def choose(page: Page, run: str, photos: int) -> None:
    """Choose a run in the list."""
    field = page.locator("#explore-run input")
    expect(field).not_to_have_value("")
    if field.input_value() != run:
        field.click()
        page.get_by_role("option", name=run, exact=True).click()
    expect(page.locator("#explore-status")).to_contain_text(f"{run}: {photos} of {photos} photos")


def part(page: Page, name: str) -> None:
    page.locator("#explore-parts").get_by_role("tab", name=name, exact=True).click()


def test_words_are_asked_and_a_pressed_photo_opens_under_more_like_this(explore: Page) -> None:
    choose(explore, "kitchen", 4)
    explore.fill("#ask-threshold input[type=number]", "0.05")
    explore.fill("#ask-prompts textarea", "dog <i &co")
    explore.click("#ask-go")
    cards = explore.locator("#ask-gallery .card")
    expect(cards.first).to_be_visible()
    expect(explore.locator("#ask-status")).to_contain_text("dog <i &co")
    expect(explore.locator("#ask-gallery")).to_contain_text(EVIL)
    assert explore.locator("#ask-gallery img, #ask-status i").count() == 0
    explore.fill("#ask-name textarea, #ask-name input", "dogs")
    explore.click("#ask-keep")
    expect(explore.locator("#ask-kept")).to_contain_text("Kept as “dogs”")
    cards.first.click()
    expect(explore.locator("#like-view svg")).to_be_visible()
    expect(explore.locator("#like-at")).to_contain_text("a box is chosen")
    explore.click("#like-add")
    expect(explore.locator("#like-status")).to_contain_text("The 4 photos most like that, of 4")
    best = explore.locator("#like-gallery .card").first
    expect(best).to_contain_text("similarity 1.00")
    explore.get_by_role("tab", name="Batch").click()
    explore.locator("#batch-run input").click()
    expect(explore.get_by_role("option", name="dogs")).to_be_visible()


def test_boxes_are_chosen_by_mouse_and_keyboard(explore: Page) -> None:
    choose(explore, "kitchen", 4)
    part(explore, "More like this")
    explore.fill("#like-name textarea, #like-name input", "onerror")
    explore.press("#like-name textarea, #like-name input", "Enter")
    view = explore.locator("#like-view svg")
    expect(explore.locator("#like-at")).to_contain_text(EVIL)
    assert explore.locator("#like-view img").count() == 0
    place = view.bounding_box()
    assert place
    explore.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(explore.locator("#like-at")).to_contain_text("a box is chosen")
    expect(view.locator("[aria-pressed=true]")).to_have_count(1)
    view.locator("[data-number='2']").focus()
    explore.keyboard.press("Enter")
    expect(view.locator("[data-number='2']")).to_have_attribute("aria-pressed", "true")
    explore.click("#like-add")
    expect(explore.locator("#like-examples li")).to_have_count(1)
    view.locator("[data-number='1']").focus()
    explore.keyboard.press(" ")
    expect(view.locator("[data-number='1']")).to_have_attribute("aria-pressed", "true")
    explore.click("#like-unlike")
    expect(explore.locator("#like-examples li")).to_have_count(2)
    explore.click("#like-clear")
    expect(explore.locator("#like-examples li")).to_have_count(0)


def test_near_duplicates_are_shown_and_downloaded(explore: Page) -> None:
    choose(explore, "kitchen", 4)
    part(explore, "Near-duplicates")
    explore.click("#dup-find")
    expect(explore.locator("#dup-groups .card.marked").first).to_contain_text("keep")
    expect(explore.locator("#dup-groups")).to_contain_text(EVIL)
    with explore.expect_download() as download:
        explore.click("#dup-list")
    assert EVIL in Path(download.value.path()).read_text(encoding="utf-8")


def test_a_discovered_name_joins_the_words(explore: Page) -> None:
    choose(explore, "kitchen", 4)
    part(explore, "Discovery")
    explore.click("#disc-find")
    ask = explore.locator("#disc-names [data-name]")
    expect(ask.first).to_be_visible(timeout=120_000)
    expect(ask).to_have_count(24)
    name = ask.first.get_attribute("data-name") or ""
    ask.first.click()
    expect(explore.locator("#ask-prompts textarea")).to_be_visible()
    expect(explore.locator("#ask-prompts textarea")).to_have_value(re.compile(re.escape(name)))


def right_scores(run: Run, rows: list[ImageRow]) -> float:
    """Mean over things of the best score of a box that is right."""
    best = []
    for row in rows:
        found = run.stored(row)
        for name, place in squares(int(row.file_name[:2])):
            truth = np.array([place], np.float32)
            fit = (
                box.score
                for box in found
                if box.name == name and iou(np.array([box.xyxy], np.float32), truth)[0, 0] >= 0.5
            )
            best.append(max(fit, default=0.0))
    return float(np.mean(best))


def draw(page: Page, name: str, box: tuple[int, int, int, int]) -> None:
    """Two presses on opposite corners of a missing box."""
    status, field = page.locator("#learn-status"), page.locator("#learn-class input")
    if field.input_value() != name:
        field.click()
        page.get_by_role("option", name=name, exact=True).click()
    for corner, said in ((box[:2], True), (box[2:], False)):
        x, y = page.evaluate(TO_SCREEN, list(corner))
        page.mouse.click(x, y)
        told = expect(status)
        told.to_contain_text("One corner") if said else told.not_to_contain_text("One corner")


TO_SCREEN = """([x, y]) => {
  const view = document.querySelector("#learn-view svg");
  view.scrollIntoView({ block: "center" });
  const point = new DOMPoint(x, y).matrixTransform(view.getScreenCTM());
  return [point.x, point.y];
}"""


def test_scores_improve_after_ten_decisions(explore: Page, folder: Path) -> None:
    run = Run(folder / "squares")
    choose(explore, "squares", PHOTOS)
    part(explore, "Learn")
    explore.click("#learn-begin")
    status, learned = explore.locator("#learn-status"), explore.locator("#learn-learned")
    explore.get_by_label("draws a missing box").check()
    before = run.model_version
    for count in range(5):
        expect(status).to_contain_text(f"{count} of {PHOTOS} photos are reviewed")
        found = re.search(r"(\d\d)\.png: \d+ boxe?s?, (\d+) undecided", status.inner_text())
        assert found
        if count == 0 and found[2] != "0":
            explore.click("#learn-done")
            expect(status).to_contain_text("undecided: say right or wrong")
        explore.click("#learn-rest-wrong")
        expect(status).to_contain_text(" 0 undecided")
        for name, box in squares(int(found[1])):
            draw(explore, name, box)
        explore.click("#learn-done")
    expect(learned).to_contain_text("Learned from 5 reviewed photos")
    expect(learned).to_contain_text("2 of 2 classes changed")
    expect(learned).to_contain_text("precision")
    expect(status).to_contain_text(f"5 of {PHOTOS} photos are reviewed")
    with Decisions(run.folder) as decisions:
        reviews = decisions.reviews()
    assert sum(len(one.boxes) for one in reviews.values()) == 10
    left = [row for row in run.images() if row.id not in reviews]
    after = right_scores(run, left)
    assert run.model_version != before
    explore.click("#learn-unlearn")
    expect(learned).to_contain_text("The words' boxes are back")
    assert run.model_version == before
    assert after > 3 * right_scores(run, left), "on photos that nobody reviewed"
    explore.click("#learn-undo")
    expect(status).to_contain_text(f"4 of {PHOTOS} photos are reviewed")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_the_parts_show_can_be_read_and_fits_a_phone(
    browser: BrowserContext, address: str, theme: str
) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}?__theme={theme}#token={quote(TOKEN)}")
    page.get_by_role("tab", name="Explore").click()
    choose(page, "kitchen", 4)
    page.fill("#ask-threshold input[type=number]", "0.05")
    page.fill("#ask-prompts textarea", "dog, cat")
    for name, press, shown in (
        ("Ask", "#ask-go", "#ask-gallery .card"),
        ("More like this", "#like-next", "#like-view svg"),
        ("Near-duplicates", "#dup-find", "#dup-groups .card"),
        ("Learn", "#learn-begin", "#learn-view svg"),
    ):
        part(page, name)
        page.click(press)
        expect(page.locator(shown).first).to_be_visible()
        for _ in range(10):
            page.wait_for_timeout(300)  # what opens fades in
            told = page.evaluate(MEASURE)
            if not told["low"]:
                break
        assert told["low"] == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    page.close()


def test_programs_ask_a_run(address: str) -> None:
    client = Client(address, verbose=False, headers={TOKEN_HEADER: TOKEN})
    told = client.predict("kitchen", "cat, dog", 0.04, api_name="/ask")
    assert len(told["images"]) == 4 and told["annotations"]
    client.close()
