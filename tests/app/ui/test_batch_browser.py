"""The Batch tab in Chromium: uploads, archives, pause, go on, cancel, visitors from elsewhere."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.runs.test_video import write_video

pytestmark = pytest.mark.browser


def begin(page: Page, name: str, places: str = "") -> None:
    """Fill the form and press Start."""
    page.fill("#batch-places textarea", places)
    page.fill("#batch-prompts textarea", "cat, cup")
    page.fill("#batch-name input, #batch-name textarea", name)
    page.click("#batch-start")


def upload(page: Page, *files: Path) -> None:
    """Drop files into the form and wait until the server has them."""
    page.set_input_files("#batch-files input[type=file]", [str(file) for file in files])
    expect(page.locator("#batch-files a")).to_have_count(len(files))


def test_photos_and_archives_are_uploaded_and_looked_at(
    page: Page, photos: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(photos / "sub" / "coffee.jpg", "deep/coffee.jpg")
        packed.write(photos / "sub" / "coffee.jpg", "../outside.jpg")
        packed.write(photos / "notes.txt", "notes.txt")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK and then nothing")
    page.get_by_role("tab", name="Batch").click()
    upload(page, broken)
    begin(page, "broken")
    expect(page.locator("#batch-said")).to_contain_text("pack it again")
    page.locator("#batch-files").get_by_label("Clear").click()
    upload(page, photos / "coffee.jpg", photos / "broken.png", archive)
    begin(page, "uploaded")
    expect(page.locator("#batch-status")).to_contain_text("uploaded: finished, 4 of 4 photos")
    expect(page.locator("#batch-status")).to_contain_text("1 failed")
    rows = page.locator("#batch-rows")
    for name in ("coffee.jpg", "deep/coffee.jpg", "outside.jpg", "broken.png"):
        expect(rows).to_contain_text(name)
    stop = page.locator("#batch-export-stop")
    expect(stop).to_be_hidden()
    page.evaluate(
        """() => new MutationObserver(() => {
          if (document.querySelector("#batch-export-stop")) window.stopSeen = true;
        }).observe(document.body, {childList: true, subtree: true, attributes: true})"""
    )
    page.click("#batch-export")
    expect(page.locator("#batch-file a")).to_have_count(1)
    expect(stop).to_be_hidden()
    assert page.evaluate("window.stopSeen"), "there is a way to stop while it works"


def test_frames_of_a_video_are_reviewed_one_after_the_other(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Batch").click()
    upload(page, write_video(tmp_path / "clip.mp4"))
    page.fill("#batch-every input", "2")
    begin(page, "clip")
    expect(page.locator("#batch-status")).to_contain_text("clip: finished, 3 of 3 photos")
    seen, picture = page.locator("#batch-seen"), page.locator("#batch-photo img")
    expect(seen).to_contain_text("Choose a photo")
    page.locator("#batch-rows").get_by_text("000002.000s").click()
    expect(seen).to_contain_text("clip.mp4/000002.000s.jpg")
    expect(picture).to_be_visible()
    before = picture.get_attribute("src")
    page.fill("#batch-shown input[type=number]", "0.05")
    page.keyboard.press("Enter")
    expect(seen).to_contain_text("at 0.05")
    expect(picture).not_to_have_attribute("src", before or "")
    page.click("#batch-next")
    expect(seen).to_contain_text("000004.000s")
    page.click("#batch-next")
    page.click("#batch-previous")
    expect(seen).to_contain_text("000002.000s")


def test_pause_go_on_cancel_and_go_on_again(
    page: Page, make_image: Callable[..., Path], tmp_path: Path
) -> None:
    first = make_image("many/000.png")
    for number in range(1, 400):
        shutil.copy(first, first.with_name(f"{number:03}.png"))
    page.get_by_role("tab", name="Batch").click()
    status = page.locator("#batch-status")
    begin(page, "many", str(first.parent))
    expect(page.locator("#batch-said")).to_contain_text("Started")
    page.click("#batch-pause")
    expect(status).to_contain_text("many: paused")
    page.wait_for_timeout(400)  # the photo that was being looked at
    page.click("#batch-pause")
    page.wait_for_timeout(300)
    line = status.locator(".status")  # without the page's own clock
    before = line.inner_text()
    page.wait_for_timeout(2500)
    assert line.inner_text() == before and "400 of 400" not in before
    page.click("#batch-resume")
    expect(status).to_contain_text("many: running")
    page.click("#batch-cancel")
    expect(status).to_contain_text("many: cancelled")
    assert "400 of 400" not in status.inner_text()
    page.click("#batch-resume")
    expect(status).to_contain_text("many: finished, 400 of 400 photos", timeout=120_000)


def test_a_visitor_from_another_machine_uploads_and_names_no_folders(
    page: Page, photos: Path
) -> None:
    page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.7"})  # a proxy that nobody named
    page.get_by_role("tab", name="Batch").click()
    said = page.locator("#batch-said")
    for place in (str(photos), f"{photos}/*.jpg", "/etc/*/../passwd", "~/photos"):
        begin(page, "from elsewhere", place)
        expect(said).to_contain_text("visitors may not read")
        expect(said).to_contain_text("--allow-folder")
    upload(page, photos / "coffee.jpg")
    begin(page, "from elsewhere")
    expect(page.locator("#batch-status")).to_contain_text("from elsewhere: finished, 1 of 1")
    page.get_by_role("tab", name="Label Studio").click()
    page.fill("#ls-url input, #ls-url textarea", "http://127.0.0.1:9")
    page.fill("#ls-key input", "0" * 40)
    page.click("#ls-connect")
    expect(page.locator("#ls-who")).to_contain_text("LABEL_STUDIO_URL")
