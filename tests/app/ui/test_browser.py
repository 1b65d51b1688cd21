"""The real app in a real Chromium: what a user does, sees and downloads.

The model is random and tiny, so these tests are about the page; scores are low and boxes anywhere.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from faster_coco_eval import COCO
from PIL import Image
from playwright.sync_api import Page, expect

from tests.places import DEMO

COFFEE = DEMO / "coffee.jpg"

pytestmark = pytest.mark.browser


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)
    expect(page.locator("#status")).not_to_contain_text("Upload, drop")


def set_threshold(page: Page, value: float) -> None:
    field = page.locator("#threshold input[type=number]")
    field.fill(str(value))
    field.press("Enter")


def boxes_shown(page: Page) -> int:
    match = re.match(r"(\d+) box", page.inner_text("#status .status.ok > span"))
    assert match
    return int(match[1])


def column(page: Page, table: str, index: int) -> list[str]:
    """The texts of one column of a table, top to bottom as far as shown."""
    return page.locator(f"{table} [role=gridcell][data-col='{index}']").all_inner_texts()


def detect_coffee(page: Page, prompts: str = "cup, a red mug") -> None:
    upload(page, COFFEE)
    page.fill("#prompts textarea", prompts)
    set_threshold(page, 0.02)
    page.click("#detect")
    expect(page.locator("#status .status.ok")).to_be_visible()


def test_photo_words_boxes_threshold_downloads(page: Page, tmp_path: Path) -> None:
    upload(page, COFFEE)
    expect(page.locator("#status")).to_contain_text("600 x 400")
    before = page.locator("#photo img").get_attribute("src")
    set_threshold(page, 0.02)
    page.fill("#prompts textarea", "cup, a red mug")
    page.press("#prompts textarea", "Control+Enter")
    expect(page.locator("#status .status.ok")).to_contain_text("ms")
    expect(page.locator("#photo img")).not_to_have_attribute("src", before or "")
    many = boxes_shown(page)
    assert many > 2
    page.click("#detect")  # on the drawn picture: the photo below it is meant
    expect(page.locator("#status")).to_contain_text("photo remembered")
    assert boxes_shown(page) == many, "a drawing is no photo"
    expect(page.locator("#boxes")).to_contain_text("a red mug")

    scores = [float(text) for text in column(page, "#classes", 3)]
    set_threshold(page, int(max(scores) * 100) / 100)
    expect(page.locator("#status")).not_to_contain_text(f"{many} boxes")
    few = boxes_shown(page)
    assert 0 < few < many

    with page.expect_download() as download:
        page.click("#get-json")
    assert download.value.suggested_filename == "coffee.coco.json"
    download.value.save_as(tmp_path / "coffee.coco.json")
    read = COCO(str(tmp_path / "coffee.coco.json"))
    assert len(read.getAnnIds()) == few
    assert [c["name"] for c in read.loadCats(read.getCatIds())] == ["cup", "a red mug"]
    assert read.loadImgs(1)[0]["file_name"] == "coffee.jpg"
    assert (read.loadImgs(1)[0]["width"], read.loadImgs(1)[0]["height"]) == (600, 400)

    with page.expect_download() as download:
        page.click("#get-png")
    download.value.save_as(tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(COFFEE) as photo:
        assert drawn.format == "PNG"
        assert drawn.size == photo.size
        assert drawn.convert("RGB").tobytes() != photo.tobytes()


def test_a_sample_brings_its_own_words_and_detects(page: Page) -> None:
    page.click("#sample-2")
    expect(page.locator("#prompts textarea")).to_have_value(re.compile("^cat"))
    expect(page.locator("#status .status.ok, #status .status.hint")).to_be_visible()
    page.click("#sample-3")
    expect(page.locator("#prompts textarea")).to_have_value(re.compile("^rocket"))


def test_nothing_found_names_the_best_scores(page: Page) -> None:
    detect_coffee(page)
    set_threshold(page, 1)
    hint = page.locator("#status .status.hint")
    expect(page.locator("#boxes")).to_be_hidden()
    expect(hint).to_contain_text("a red mug: best score 0.")
    shown_at = re.search(
        r"cup: best score [\d.]+, shown when the threshold is ([\d.]+)", hint.inner_text()
    )
    assert shown_at
    set_threshold(page, float(shown_at[1]))
    expect(page.locator("#status .status.ok .tag").first).to_be_visible()
    assert "cup" in " ".join(page.locator("#status .tag").all_inner_texts())


def test_every_mistake_says_what_to_do_and_keeps_the_input(page: Page, tmp_path: Path) -> None:
    error = page.locator("#status .status.error")
    page.click("#detect")
    expect(error).to_contain_text("Type what to look for")
    page.fill("#prompts textarea", "cat @high")
    page.click("#detect")
    expect(error).to_contain_text("Upload, drop or paste one")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    page.set_input_files("#photo input[type=file]", tmp_path / "torn.png")
    expect(error).to_contain_text("torn.png")
    expect(page.locator("#prompts textarea")).to_have_value("cat @high")
    page.set_input_files("#photo input[type=file]", COFFEE)
    expect(page.locator("#status")).to_contain_text("Photo ready")
    page.click("#detect")
    expect(error).to_contain_text("line 1")
    expect(page.locator("#prompts textarea")).to_have_value("cat @high")
    expect(page.locator("#photo img")).to_be_visible()


def test_a_threshold_in_the_class_table_moves_into_the_words(page: Page) -> None:
    detect_coffee(page)
    many = boxes_shown(page)
    cell = page.locator("#classes [data-testid=cell-0-1]")
    cell.dblclick()
    editor = cell.locator("input, textarea")
    expect(editor).to_be_focused()  # what is typed before goes astray
    editor.fill("1")
    editor.press("Enter")
    expect(page.locator("#prompts textarea")).to_have_value("cup @1.0\na red mug")
    expect(page.locator("#status")).not_to_contain_text(f"{many} boxes")
    assert boxes_shown(page) < many


def test_a_header_sorts_the_boxes(page: Page) -> None:
    detect_coffee(page)
    scores = [float(text) for text in column(page, "#boxes", 1)]
    assert scores == sorted(scores, reverse=True)
    page.locator("#boxes th[data-heading='1'] .cell-menu-button").click()
    page.get_by_role("menuitem", name="Sort ascending").click()
    expect(page.locator("#boxes [role=gridcell][data-col='1']").first).not_to_have_text(
        f"{scores[0]:g}"
    )
    turned = [float(text) for text in column(page, "#boxes", 1)]
    assert turned == sorted(turned)


def test_words_are_shown_as_words(page: Page) -> None:
    detect_coffee(page, '"<img src=x onerror=""document.title=1"">"\n"<b>bold</b>"')
    expect(page.locator("#status .tag").first).to_contain_text("<")
    assert page.locator("#status img, #status b, #boxes b, #classes b").count() == 0
    assert page.title() == "DetCLIPv2"


PASTE = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const carrier = new DataTransfer();
  carrier.items.add(new File([bytes], kind + ".jpg", { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: carrier, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: carrier, bubbles: true, cancelable: true });
  document.querySelector("#header").dispatchEvent(event);
}"""


def test_a_photo_is_pasted_or_dropped_anywhere_also_over_another(page: Page) -> None:
    for kind, name, size in (("paste", "coffee", "600 x 400"), ("drop", "chelsea", "451 x 300")):
        data = base64.b64encode((DEMO / f"{name}.jpg").read_bytes()).decode()
        page.evaluate(PASTE, [kind, data])
        expect(page.locator("#status")).to_contain_text(size)
        set_threshold(page, 0.02)
        page.fill("#prompts textarea", "cup")
        page.click("#detect")
        expect(page.locator("#status .status.ok")).to_be_visible()
    with page.expect_download() as download:
        page.click("#get-json")
    image = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["images"][0]
    assert (image["file_name"], image["width"]) == ("drop.jpg", 451)


def test_a_narrow_page_needs_no_sideways_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#sample-0")
    expect(page.locator("#status .status.ok, #status .status.hint")).to_be_visible()
    expect(page.locator("#get-json")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_tab_is_in_sight_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    first = ["Detect", "Align", "Browse", "Compare", "Batch", "Explore"]
    for name in [*first, "Label Studio", "Calibrate", "Train"]:
        expect(page.get_by_role("tab", name=name)).to_be_in_viewport(ratio=1)
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-find")).to_be_visible()
    expect(page.locator("footer .divider").first).to_be_hidden()  # nothing to divide: API is away
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [390, 1280])
def test_no_tab_is_wider_than_the_page_and_all_are_as_wide(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    widths = set()
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        widths.add(page.evaluate("document.querySelector('#tabs').offsetWidth"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(widths) == 1 and min(widths) > width - 80


def test_results_of_other_words_are_marked_until_they_are_made_anew(page: Page) -> None:
    detect_coffee(page)
    stale = page.locator("#status.stale-status")
    expect(stale).to_have_count(0)
    page.locator("#prompts textarea").press_sequentially(", dog")
    expect(stale).to_have_count(1)
    expect(page.locator("#boxes.stale")).to_have_count(1)
    page.press("#prompts textarea", "Control+Enter")
    expect(stale).to_have_count(0)
    expect(page.locator(".stale")).to_have_count(0)


def test_an_error_takes_the_place_of_earlier_boxes(page: Page) -> None:
    detect_coffee(page)
    drawn = page.locator("#photo img").get_attribute("src") or ""
    page.fill("#prompts textarea", "cat @high")
    page.click("#detect")
    expect(page.locator("#status .status.error")).to_be_visible()
    for gone in ("#boxes", "#classes", "#get-json"):
        expect(page.locator(gone)).to_be_hidden()
    expect(page.locator("#photo img")).not_to_have_attribute("src", drawn)
    page.fill("#prompts textarea", "cup")
    page.click("#detect")
    expect(page.locator("#boxes")).to_be_visible()


@pytest.mark.parametrize("panel", ["#photo"])
def test_full_screen_fills_the_screen(page: Page, panel: str) -> None:
    detect_coffee(page)
    page.locator(f"{panel} button[title*=ullscreen], {panel} [aria-label*=ullscreen]").first.click()
    expect(page.locator(panel)).to_have_class(re.compile("fullscreen"))
    page.wait_for_function(
        f"document.querySelector('{panel}').getBoundingClientRect().height >= innerHeight - 1"
    )
    box, size = page.locator(f"{panel} img").bounding_box(), page.viewport_size
    assert box and size
    assert box["width"] > 0.9 * size["width"] or box["height"] > 0.9 * size["height"]
