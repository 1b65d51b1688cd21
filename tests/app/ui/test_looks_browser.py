"""The choice of looks in Chromium: in Detect, in Batch, and in Compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
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

COFFEE = DEMO / "coffee.jpg"


@pytest.fixture
def looking_page(
    browser: BrowserContext, looking_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A page of a model that looks three times at a photo."""
    monkeypatch.setenv("DETCLIPV2_RUNS", str(tmp_path / "runs"))
    with serving(guarded(build_app(looking_engine, RULES), ServedNames())) as address:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{address}#token={TOKEN}")
        page.wait_for_selector("#detect")
        yield page
        page.close()


def test_detect_looks_fast_or_thoroughly(
    looking_page: Page, looking_engine: Engine, tmp_path: Path
) -> None:
    page = looking_page
    choice = page.locator("#looks")
    expect(choice).to_contain_text("Thorough looks 3 times at a photo")
    expect(choice).to_contain_text("thorough not measured yet, fast not measured yet")
    expect(choice.get_by_label("Thorough")).to_be_checked()
    page.set_input_files("#photo input[type=file]", COFFEE)
    expect(page.locator("#status")).to_contain_text("Photo ready")
    page.fill("#prompts textarea", "cup")
    page.locator("#threshold input[type=number]").fill("0.02")
    page.click("#detect")
    expect(page.locator("#status .status.ok")).to_be_visible()
    assert looking_engine.image_passes == 3
    choice.get_by_label("Fast").check()
    expect(page.locator("#status")).not_to_contain_text("remembered")
    with page.expect_download() as download:
        page.click("#get-json")
    assert looking_engine.image_passes == 4
    download.value.save_as(tmp_path / "fast.json")
    assert json.loads((tmp_path / "fast.json").read_text())["info"]["looks"] == [64]
    choice.get_by_label("Thorough").check()
    expect(page.locator("#status")).to_contain_text("remembered")
    assert looking_engine.image_passes == 4, "both are kept"


def test_times_stand_beside_the_choice_once_they_are_measured(
    looking_page: Page, looking_engine: Engine
) -> None:
    looking_engine.measure(COFFEE, "cup")
    fast = looking_engine.milliseconds_of("fast")
    looking_page.reload()
    expect(looking_page.locator("#looks")).to_contain_text(f"fast {fast:,.0f} ms.")


def test_a_batch_looks_fast(looking_page: Page, looking_engine: Engine) -> None:
    page = looking_page
    page.get_by_role("tab", name="Batch").click()
    page.set_input_files("#batch-files input[type=file]", COFFEE)
    expect(page.locator("#batch-files a")).to_have_count(1)
    page.fill("#batch-prompts textarea", "cup")
    page.locator("#batch-looks").get_by_label("Fast").check()
    page.fill("#batch-name input, #batch-name textarea", "hurried")
    page.click("#batch-start")
    status = page.locator("#batch-status")
    expect(status).to_contain_text("hurried: finished, 1 of 1 photos")
    expect(status).to_contain_text("+fast")
    assert looking_engine.image_passes == 1


def test_fast_and_thorough_looks_are_compared(looking_page: Page, looking_engine: Engine) -> None:
    page = looking_page
    page.get_by_role("tab", name="Compare").click()
    page.set_input_files("#compare-photo input[type=file]", COFFEE)
    page.fill("#compare-words-a textarea", "cup")
    page.locator("#compare-threshold input[type=number]").fill("0.02")
    page.get_by_role("button", name="Template, model and looks").nth(1).click()
    page.locator("#compare-looks-b").get_by_label("Fast").check()
    page.click("#compare")
    expect(page.locator("#compare-status")).to_contain_text("moved")
    expect(page.locator("#compare-status")).not_to_contain_text("Both sides find the same")
    assert looking_engine.image_passes == 4
