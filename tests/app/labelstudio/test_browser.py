"""What people see: the tabs of the app, and Label Studio's own page with the boxes on it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image, ImageDraw
from playwright.sync_api import BrowserContext, Page, expect

from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.tasks import create_project, upload_tasks
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs import sources
from app.runs.settings import settings_of
from app.runs.store import Run
from tests.app.labelstudio.conftest import APART, CONFIG, EMAIL, PASSWORD, TOKEN, Server
from tests.app.labelstudio.submissions import submit

pytestmark = pytest.mark.browser
BOX = (40, 150, 140, 290)
"""Where the magenta thing is, in pixels of the upright photo."""


def snap(page: Page, name: str) -> None:
    """Keep a picture for people when a folder for them is named."""
    if folder := os.environ.get("DETCLIPV2_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def magenta(content: bytes, frame: list[float]) -> tuple[float, ...]:
    """Bounds of the magenta thing inside `frame` of a screenshot, under a translucent region."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    ys, xs = np.nonzero((red > green + 90) & (blue > green + 90))
    inside = (xs > frame[0]) & (ys > frame[1]) & (xs < frame[2]) & (ys < frame[3])
    ys, xs = ys[inside], xs[inside]
    return tuple(float(np.percentile(v, q)) for q in (1, 99) for v in (xs, ys))


@pytest.mark.parametrize("config", [CONFIG, APART], ids=["rectanglelabels", "labels"])
def test_label_studio_shows_named_boxes_where_things_are(
    config: str,
    browser: BrowserContext,
    server: Server,
    connection: Connection,
    shared_engine: Engine,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    upright = Image.new("RGB", (240, 320), (90, 120, 90))
    ImageDraw.Draw(upright).rectangle(BOX, fill=(255, 0, 255))
    upright.save(folder / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side, shown turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    settings = settings_of(shared_engine, "cat, cup", threshold=0.3)
    run = Run.create(tmp_path / "run", settings, sources.find_images([folder]))
    found = sv.Detections(
        np.array([BOX], float), confidence=np.array([0.9]), class_id=np.array([1])
    )
    for row in run.images():
        import hashlib

        digest = hashlib.sha256(Path(row.place).read_bytes()).hexdigest()
        run.save(row, found, digest, (240, 320), 0.1)
    project = create_project(connection, "seen in the page", run.view.vocabulary)
    connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": config})
    upload_tasks(connection, project, [row.ref for row in run.images()], sources.read)
    push(plan(run, connection, project), connection)
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{server.url}/user/login/")
    if "/login" in page.url:  # the tests share one browser
        page.fill("input[name=email]", os.environ.get("LABEL_STUDIO_TEST_EMAIL", EMAIL))
        page.fill("input[name=password]", os.environ.get("LABEL_STUDIO_TEST_PASSWORD", PASSWORD))
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
    for ref in images_of_project(connection, project):
        page.goto(f"{server.url}/projects/{project}/data?task={ref.task}")
        page.wait_for_function(
            "() => window.Konva?.stages?.length && window.Htx?.annotationStore?.selected?.regions"
            "?.length === 1"
        )
        page.wait_for_timeout(1500)  # the page fits the photo into its panel
        name = page.evaluate("window.Htx.annotationStore.selected.regions[0].labels")
        assert name == ["cup"], "the box has its name"
        expect(page.locator("body")).to_contain_text("cup")
        frame = page.evaluate(
            """() => {
              const stage = window.Konva.stages.find((s) => s.width() > 100);
              const frame = stage.container().getBoundingClientRect();
              return [frame.left, frame.top, frame.right, frame.bottom];
            }"""
        )
        seen = magenta(page.screenshot(), frame)
        snap(page, f"labelstudio-{ref.task}")
        drawn = page.evaluate(
            """() => {
              const region = window.Htx.annotationStore.selected.regions[0];
              const stage = window.Konva.stages.find((s) => s.width() > 100);
              const frame = stage.container().getBoundingClientRect();
              const box = region.bboxCoordsCanvas ?? region.bboxCoords;
              const [x, y] = [frame.left + stage.x(), frame.top + stage.y()];
              const k = stage.scaleX();
              return [x + k * box.left, y + k * box.top, x + k * box.right, y + k * box.bottom];
            }"""
        )
        assert drawn == pytest.approx(seen, abs=8), f"{ref.file_name}: {drawn} but {seen}"
    page.close()


def test_batch_push_and_calibrate_in_the_page(
    browser: BrowserContext,
    served_link: str,
    server: Server,
    connection: Connection,
    photos_on_server: Path,
) -> None:
    wrong: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served_link)
    page.get_by_role("tab", name="Batch").click()
    page.fill("#batch-places textarea", str(photos_on_server))
    page.fill("#batch-prompts textarea", "cat\n<b>cup</b>")
    page.fill("#batch-name input, #batch-name textarea", "three photos")
    page.locator("#batch-threshold input[type=number]").fill("0.05")
    page.click("#batch-estimate")
    expect(page.locator("#batch-said")).to_contain_text("3 photos, about")
    page.click("#batch-start")
    expect(page.locator("#batch-status")).to_contain_text("finished, 3 of 3 photos")
    expect(page.locator("#batch-rows")).to_contain_text("turned.jpg")
    page.click("#batch-export")
    expect(page.locator("#batch-file a").first).to_be_visible()
    snap(page, "batch")

    page.get_by_role("tab", name="Label Studio").click()
    page.fill("#ls-url input, #ls-url textarea", server.url)
    page.fill("#ls-key input", "0" * 40)
    page.click("#ls-connect")
    expect(page.locator("#ls-who")).to_contain_text("does not accept this legacy token")
    page.fill("#ls-key input", TOKEN)
    page.click("#ls-connect")
    expect(page.locator("#ls-who")).to_contain_text("legacy token")
    expect(page.locator("#ls-who")).to_contain_text("Connected")
    expect(page.locator("#ls-key input")).to_have_value("")
    assert TOKEN not in page.content()
    page.locator("#ls-run input").click()
    page.get_by_role("option", name="three photos").click()
    page.locator("#ls-make button").first.click()
    page.wait_for_timeout(500)  # the accordion opens
    page.fill("#ls-title input, #ls-title textarea", "made in the page")
    page.click("#ls-new")
    expect(page.locator("#ls-status")).to_contain_text("made, with one label a class")
    page.click("#ls-tasks")
    expect(page.locator("#ls-status")).to_contain_text("3 tasks made")
    page.click("#ls-check")
    expect(page.locator("#ls-status")).to_contain_text("3 of 3 images open")
    page.click("#ls-dry")
    expect(page.locator("#ls-status")).to_contain_text("3 predictions to create")
    expect(page.locator("#ls-map")).to_contain_text("exact")
    assert page.locator("#ls-status b, #ls-map b").count() == 0, "words are shown as words"
    snap(page, "labelstudio-dry-run")
    page.click("#ls-push")
    expect(page.locator("#ls-status")).to_contain_text("Pushed and read back: 3 created")
    page.click("#ls-dry")
    expect(page.locator("#ls-status")).to_contain_text("0 predictions to create")
    expect(page.locator("#ls-status")).to_contain_text("3 there already")
    project = int(page.input_value("#ls-project input").split(" ")[0])
    assert page.input_value("#ls-project input") == f"{project} · made in the page"

    for ref in images_of_project(connection, project):
        assert ref.task is not None
        submit(connection, ref.task, lambda regions: regions)
    page.get_by_role("tab", name="Calibrate").click()
    page.locator("#cal-project input").click()
    page.get_by_role("option", name=f"{project} · made in the page").click()
    page.click("#cal-fetch")
    expect(page.locator("#cal-status")).to_contain_text("3 submitted tasks")
    expect(page.locator("#cal-plots svg").first).to_be_visible()
    expect(page.locator("#cal-table")).to_contain_text("cat")
    page.locator("#cal-run input").click()
    page.get_by_role("option", name="three photos").click()
    page.click("#cal-apply")
    expect(page.locator("#cal-applied .status")).to_contain_text("no class has a proposal")
    snap(page, "calibrate")
    for tab in ("Batch", "Label Studio", "Calibrate"):
        page.get_by_role("tab", name=tab).click()
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(800)
        snap(page, f"narrow-{tab.lower().replace(' ', '-')}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 1280, "height": 900})
        page.wait_for_timeout(800)
    page.close()
    assert wrong == []
