"""Links to a state: what they say, and that the page they open is the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import torch
from playwright.sync_api import BrowserContext, Page, expect

from app.browse.records import About
from app.browse.store import BrowseRun
from app.ui.shared.permalink import Link, LinkError, find_photo, keep_photo
from detclipv2.datasets.captions import Captioned
from detclipv2.inference.alignment import Alignment, AlignSettings
from tests.places import DEMO


def test_a_link_is_read_as_it_was_written() -> None:
    link = Link(
        "align",
        "0123456789abcdef",
        "a & b = ü #1\n<b>",
        {"regions": 5, "whole": True},
        [("a & b", 0, 5)],
        {"evidence": 0.5, "pinBox": None},
    )
    query = dict(parse_qsl(link.query()[1:]))
    assert Link.read(query) == Link(**{**vars(link), "phrases": [("a & b", 0, 5)]})
    assert Link.read({}) is None
    assert Link.read({"view": "elsewhere"}) is None
    for wrong in (
        {"photo": "../../etc"},
        {"state": "{"},
        {"state": "[1]"},
        {"state": '{"phrases":3}'},
    ):
        with pytest.raises(LinkError):
            Link.read({**query, **wrong})


def test_photos_are_kept_by_their_content(tmp_path: Path) -> None:
    assert find_photo(keep_photo(DEMO / "coffee.jpg", tmp_path), tmp_path) == DEMO / "coffee.jpg"
    mine = tmp_path / "mine.jpg"
    shutil.copy(DEMO / "coffee.jpg", mine)
    mine.write_bytes(mine.read_bytes() + b"\0")
    key = keep_photo(mine, tmp_path / "shelf")
    mine.unlink()
    kept = find_photo(key, tmp_path / "shelf")
    assert kept is not None and kept.name == "mine.jpg"
    assert find_photo("0" * 16, tmp_path) is None
    assert find_photo("../..", tmp_path) is None


@pytest.mark.browser
def test_a_link_of_detect_shows_the_same_boxes(
    page: Page, browser: BrowserContext, tmp_path: Path
) -> None:
    mine = tmp_path / "my own.jpg"
    mine.write_bytes((DEMO / "coffee.jpg").read_bytes() + b"\0")
    page.set_input_files("#photo input[type=file]", mine)
    expect(page.locator("#status")).to_contain_text("Photo ready")
    page.fill("#prompts textarea", "cup, a red mug @0.04")
    field = page.locator("#threshold input[type=number]")
    field.fill("0.03")
    field.press("Enter")
    page.click("#detect")
    expect(page.locator("#status .status.ok")).to_be_visible()
    found = re.search(r"(\d+) box", page.inner_text("#status"))
    page.click("#get-link")
    page.wait_for_url("**view=detect**")
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("#status .status.ok")).to_contain_text(found[0] if found else "?")
    expect(other.locator("#prompts textarea")).to_have_value("cup, a red mug @0.04")
    expect(other.locator("#threshold input[type=number]")).to_have_value("0.03")
    gone = page.url.replace(dict(parse_qsl(urlsplit(page.url).query))["photo"], "0" * 16)
    other.goto(gone)
    expect(other.locator("#status .error")).to_contain_text("not on this machine")
    expect(other.locator("#prompts textarea")).to_have_value("cup, a red mug @0.04")
    other.close()


@pytest.mark.browser
def test_a_link_of_align_shows_the_same_matrix_and_view(
    page: Page, browser: BrowserContext
) -> None:
    page.get_by_role("tab", name="Align").click()
    page.click("#align-sample-1")
    inspector = page.locator("#inspector")
    expect(inspector.locator(".matrix")).to_be_visible()
    inspector.locator(".phrase[data-phrase='1']").click()
    page.click("#inspector .drop")
    expect(inspector.locator(".matrix thead th")).to_have_count(7)
    inspector.locator(".phrase[data-phrase='2']").click()
    page.mouse.move(2, 2)
    before = inspector.locator(".matrix").inner_text()
    details = inspector.locator(".details").inner_text()
    page.click("#inspector .get-link")
    page.wait_for_url("**view=align**")
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("#inspector .matrix")).to_be_visible()
    assert other.locator("#inspector .matrix").inner_text() == before
    assert other.locator("#inspector .details").inner_text() == details
    other.close()


@pytest.mark.browser
def test_a_link_of_compare_runs_the_same_comparison(
    page: Page, browser: BrowserContext, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.jpg"
    mine.write_bytes((DEMO / "coffee.jpg").read_bytes() + b"\1")
    page.get_by_role("tab", name="Compare").click()
    page.click("#compare-link")
    expect(page.get_by_text("Nothing to link to yet").first).to_be_visible()
    page.set_input_files("#compare-photo input[type=file]", mine)
    page.fill("#compare-words-a textarea", "cup")
    page.fill("#compare-words-b textarea", "cup\n<b>zebra</b>")
    field = page.locator("#compare-threshold input[type=number]")
    field.fill("0.02")
    field.press("Enter")
    page.click("#compare")
    expect(page.locator("#compare-picture figcaption")).to_contain_text("mine.jpg")
    first = page.locator("#compare-picture g[opacity]").count()
    page.locator("#compare-table [data-testid=cell-1-1]").click()
    expect(page.locator("#compare-picture g[opacity]").first).to_be_visible()
    assert first == 0
    page.click("#compare-link")
    page.wait_for_url("**view=compare**")
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("#compare-picture figcaption")).to_contain_text("mine.jpg")
    for place in ("#compare-status .status", "#compare-picture figcaption", "#compare-table"):
        expect(other.locator(place)).to_have_text(
            page.locator(place).inner_text(), use_inner_text=True
        )
    expect(other.locator("#compare-words-b textarea")).to_have_value("cup\n<b>zebra</b>")
    pictures = [tab.locator("#compare-picture svg").inner_html() for tab in (page, other)]
    assert pictures[0] == pictures[1], "the row that was clicked is marked in both"
    other.goto(page.url.replace(dict(parse_qsl(urlsplit(page.url).query))["photo"], "0" * 16))
    expect(other.locator("#compare-status .error")).to_contain_text("not on this machine")
    other.close()


@pytest.mark.browser
def test_a_link_of_browse_shows_the_same_page_of_the_gallery(
    page: Page, browser: BrowserContext, browse_folder: Path
) -> None:
    run = BrowseRun.make(browse_folder / "linked")
    run.begin(
        (Captioned(f"{i}.jpg", DEMO / "coffee.jpg", f"mug number {i}") for i in range(40)),
        About("linked", "tiny", "0", {}),
    )
    for i in range(40):
        run.write(
            i + 1,
            Alignment(
                f"mug number {i}",
                (f"mug number {i}",),
                (None,),
                torch.tensor([[1.0, 1.0, 99.0, 99.0]]),
                torch.tensor([3]),
                torch.tensor([[i / 20 - 1]]),
                torch.zeros(2),
                0.0,
                AlignSettings(),
                (600, 400),
            ),
        )
    page.get_by_role("tab", name="Browse").click()
    page.locator("#browse-earlier input").click()
    page.get_by_role("option").filter(has_text="linked").click()
    expect(page.locator("#browse-place")).to_contain_text("40 captions")
    page.fill("#browse-phrase input, #browse-phrase textarea", "number 1")
    expect(page.locator("#browse-place")).to_contain_text("11 captions")
    page.fill("#browse-phrase input, #browse-phrase textarea", "number")
    expect(page.locator("#browse-place")).to_contain_text("40 captions")
    page.click("#browse-next")
    expect(page.locator("#browse-place")).to_contain_text("page 2 of 4")
    page.click("#browse-link")
    page.wait_for_url("**view=browse**")
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("#browse-place")).to_contain_text("40 captions · page 2 of 4")
    assert other.locator(".card").all_inner_texts() == page.locator(".card").all_inner_texts()
    expect(other.locator("#browse-phrase input, #browse-phrase textarea")).to_have_value("number")
    other.goto(page.url.replace("linked", "..%2F.."))
    expect(other.locator("#browse-status .error")).to_contain_text("not aligned on this machine")
    other.close()


@pytest.mark.browser
def test_a_link_of_train_shows_the_same_run_and_snapshot(
    page: Page, browser: BrowserContext, training_run: Path
) -> None:
    page.get_by_role("tab", name="Train").click()
    page.fill("#train-root input, #train-root textarea", str(training_run.parent))
    page.click("#train-find")
    expect(page.locator("#train-pictures .card")).to_have_count(4)
    page.click("#train-link")
    page.wait_for_url("**view=train**")
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("#train-pictures .card")).to_have_count(4)
    for place in ("#train-status", "#train-pictures"):
        for one in (page, other):
            expect(one.locator(place)).not_to_contain_text("processing")
        assert other.locator(place).inner_text() == page.locator(place).inner_text()
    expect(other.locator("#train-pairs")).to_be_visible()
    other.close()
