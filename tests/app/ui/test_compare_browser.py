"""The Compare tab and the vocabulary editor in a real Chromium."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.engine import Engine
from app.ui.build import build_app
from app.ui.request_guard import ServedNames
from app.ui.serve import guarded
from tests.app.ui.visitors import RULES, TOKEN, serving
from tests.places import DEMO

pytestmark = pytest.mark.browser


def set_threshold(page: Page, value: float) -> None:
    field = page.locator("#compare-threshold input[type=number]")
    field.fill(str(value))
    field.press("Enter")


def test_a_planted_difference_is_found_on_a_folder(page: Page, tmp_path: Path) -> None:
    for name in ("coffee.jpg", "chelsea.jpg"):
        shutil.copy(DEMO / name, tmp_path / name)
    page.get_by_role("tab", name="Compare").click()
    set_threshold(page, 0.02)
    page.fill("#compare-folder input, #compare-folder textarea", str(tmp_path))
    page.fill("#compare-words-a textarea", "cup, table")
    page.fill("#compare-words-b textarea", "cup, table")
    page.click("#compare")
    expect(page.locator("#compare-status")).to_contain_text("Both sides find the same")
    page.fill("#compare-words-b textarea", 'cup, "<b>zebra</b>"')
    page.press("#compare-words-b textarea", "Control+Enter")
    expect(page.locator("#compare-status")).not_to_contain_text("the same")
    found = page.locator("#compare-status").inner_text()
    lost, gained = (int(re.search(rf"(\d+) {k}", found)[1]) for k in ("lost", "gained"))  # type: ignore[index]
    relabelled = int(re.search(r"(\d+) relabelled", found)[1])  # type: ignore[index]
    assert lost + relabelled > 0 and gained + relabelled > 0
    expect(page.locator("#compare-table")).to_contain_text("<b>zebra</b>")
    assert page.locator("#compare-table b, #compare-picture b").count() == 0
    expect(page.locator("#compare-picture figcaption")).to_contain_text("chelsea.jpg")


def test_cancel_keeps_what_was_done_and_lets_go_of_the_model(
    browser: BrowserContext, engine: Engine, tmp_path: Path
) -> None:
    photo = (DEMO / "coffee.jpg").read_bytes()
    for number in range(
        2000
    ):  # what is behind a JPEG's end makes other photos of it, none is known
        (tmp_path / f"{number:04}.jpg").write_bytes(photo + number.to_bytes(4, "big"))
    with serving(guarded(build_app(engine, RULES), ServedNames())) as address:
        cancel_soon(browser, engine, tmp_path, address)


def cancel_soon(browser: BrowserContext, engine: Engine, folder: Path, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}#token={TOKEN}")
    page.get_by_role("tab", name="Compare").click()
    set_threshold(page, 0.02)
    page.fill("#compare-folder input, #compare-folder textarea", str(folder))
    page.fill("#compare-words-a textarea", "cup")
    page.fill("#compare-words-b textarea", "cup, zebra")
    page.click("#compare")
    expect(page.locator("#compare-status")).to_contain_text("of 2000 photos")
    page.click("#compare-cancel")
    expect(page.locator("#compare-status")).to_contain_text("Cancelled: ")
    page.wait_for_timeout(1000)  # the photos until the page would next be told
    looked = engine.image_passes
    assert 0 < looked < 2000
    expect(page.locator("#compare-table")).to_contain_text("000.jpg")
    expect(page.locator("#compare-picture figcaption")).to_contain_text("000.jpg")
    page.wait_for_timeout(1500)
    assert engine.image_passes == looked
    expect(page.locator("#compare-status")).to_contain_text("Cancelled: ")
    told = re.search(r"(\d+) of 2000 photos", page.locator("#compare-status").inner_text())
    assert told and 0 < int(told[1]) <= looked
    page.close()


def test_the_editor_imports_edits_and_saves(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    names = [{"id": 1, "name": "cup"}, {"id": 2, "name": "race_car"}]
    file.write_text(json.dumps({"categories": names}), encoding="utf-8")
    page.locator("#prompts-editor button").first.click()
    with page.expect_file_chooser() as chooser:
        page.click("#prompts-import")
    chooser.value.set_files(file)
    expect(page.locator("#prompts textarea")).to_have_value("cup\nrace_car")
    expect(page.locator("#prompts-table")).to_contain_text("race_car")
    cell = page.locator("#prompts-table [data-testid=cell-0-1]")
    cell.dblclick()
    editor = cell.locator("input, textarea")
    expect(editor).to_be_focused()  # what is typed before goes astray
    editor.fill("mug")
    editor.press("Enter")
    expect(page.locator("#prompts textarea")).to_have_value("cup: mug\nrace_car")
    page.click("#prompts-define")
    expect(page.locator("#prompts textarea")).to_have_value(re.compile(r"^cup = .+: mug\n"))
    with page.expect_download() as download:
        page.click("#prompts-save")
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith("cup = ")
