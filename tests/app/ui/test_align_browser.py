"""The alignment inspector in a real Chromium: its three views, its editor, its downloads."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.engine import Engine
from detclipv2.inference.alignment import AlignSettings
from tests.places import DEMO

CAPTION = "A red mug and two dogs on a sofa"

pytestmark = pytest.mark.browser


def align(page: Page, caption: str = CAPTION, photo: str = "coffee.jpg") -> None:
    page.get_by_role("tab", name="Align").click()
    page.set_input_files("#align-photo input[type=file]", DEMO / photo)
    expect(page.locator("#align-photo img")).to_be_visible()
    page.fill("#align-caption textarea", caption)
    page.press("#align-caption textarea", "Control+Enter")
    expect(page.locator("#inspector .matrix")).to_be_visible()


def phrases(page: Page) -> list[str]:
    headers = page.locator("#inspector .matrix thead th[data-phrase] button")
    return [text.rstrip(" ▲▼") for text in headers.all_inner_texts()]


def column(page: Page, index: int) -> list[float]:
    cells = page.locator(f"#inspector .matrix td[data-phrase='{index}']")
    return [float(c) for c in cells.evaluate_all("all => all.map((c) => c.dataset.value)")]


def chip(page: Page, index: int) -> Any:
    return page.locator(f"#inspector .phrase[data-phrase='{index}']")


def least_evidence(page: Page, value: float) -> None:
    page.locator("#inspector input.evidence").evaluate(
        "(s, v) => { s.step = 'any'; s.min = -99; s.value = v;"
        " s.dispatchEvent(new Event('input')); }",
        value,
    )


def test_the_matrix_is_the_librarys_and_edited_phrases_change_it(
    page: Page, shared_engine: Engine
) -> None:
    align(page)
    assert phrases(page) == ["A red mug", "two dogs", "a sofa", "whole caption"]
    found = shared_engine.align(DEMO / "coffee.jpg", CAPTION).alignment
    for index in range(4):
        assert column(page, index) == pytest.approx(found.scores[:, index].tolist(), abs=1e-5)

    chip(page, 1).click()
    page.click("#inspector .drop")
    expect(page.locator("#inspector .matrix thead th")).to_have_count(4)
    assert phrases(page) == ["A red mug", "a sofa", "whole caption"]
    chip(page, 0).click()
    page.get_by_role("button", name="Split: A red | mug").click()
    expect(page.locator("#inspector .matrix thead th")).to_have_count(5)
    assert phrases(page)[:3] == ["A red", "mug", "a sofa"]
    chip(page, 0).click()
    page.click("#inspector .merge")
    expect(page.locator("#inspector .matrix thead th")).to_have_count(4)
    assert phrases(page)[0] == "A red mug"
    page.fill("#inspector .add-text", "a kite")
    page.press("#inspector .add-text", "Enter")
    expect(page.locator("#inspector .matrix thead th")).to_have_count(5)
    page.locator("#inspector .word", has_text="on").click()
    expect(page.locator("#inspector .matrix thead th")).to_have_count(6)
    page.get_by_label("whole caption as a phrase").uncheck()
    expect(page.locator("#inspector .matrix thead th")).to_have_count(5)
    assert phrases(page) == ["A red mug", "a sofa", "a kite", "on"]
    words = ["A red mug", "a sofa", "a kite", "on"]
    again = shared_engine.align(DEMO / "coffee.jpg", words, whole=False).alignment
    assert column(page, 2) == pytest.approx(again.scores[:, 2].tolist(), abs=1e-5)


def test_a_word_becomes_a_phrase_by_keyboard_and_keeps_its_place(page: Page) -> None:
    align(page, "So nice 😀! A red mug & two dogs sleeping on a sofa")
    assert phrases(page)[:4] == ["So nice 😀", "A red mug", "two dogs", "a sofa"]
    words = page.locator("#inspector .word")
    assert words.all_text_contents() == ["sleeping", "on"]
    chip(page, 2).focus()
    page.keyboard.press("Tab")
    expect(words.first).to_be_focused()
    expect(page.get_by_role("button", name="Add “sleeping” as a phrase")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#inspector .matrix thead th")).to_have_count(7)
    assert phrases(page)[3:5] == ["a sofa", "sleeping"]
    assert words.all_text_contents() == ["on"]  # it stands in the caption now, as a chip
    expect(chip(page, 4)).to_be_focused()
    page.keyboard.press("Tab")
    expect(words.first).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#inspector .matrix thead th")).to_have_count(8)
    assert words.count() == 0


def test_pointing_and_clicking_link_the_three_views_without_the_server(page: Page) -> None:
    align(page)
    page.wait_for_timeout(300)
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url))
    inspector = page.locator("#inspector")
    expect(inspector.locator(".heat")).to_have_count(0)
    chip(page, 1).hover()
    expect(inspector.locator(".heat")).to_have_count(1)
    expect(inspector.locator(".details")).to_contain_text("two dogs")
    assert inspector.locator(".tie").count() >= 1
    assert set(inspector.locator(".tie").evaluate_all("a => a.map((t) => t.dataset.phrase)")) == {
        "1"
    }
    expect(inspector.locator("td.lit[data-phrase='1']").first).to_be_visible()

    # The strongest cell of the column is the region its line ends at.
    scores = column(page, 1)
    best = scores.index(max(scores))
    tied = inspector.locator(".tie").evaluate_all("a => a.map((t) => Number(t.dataset.region))")
    assert best in tied
    page.mouse.move(5, 5)
    expect(inspector.locator(".heat")).to_have_count(0)

    inspector.locator(f".matrix tr[data-region='{best}'] .row").click()
    page.mouse.move(5, 5)
    expect(inspector.locator(".details")).to_contain_text(f"Region {best + 1}")
    ranked = inspector.locator(".details .number").all_inner_texts()
    assert [float(n) for n in ranked] == sorted(map(float, ranked), reverse=True)
    assert len(ranked) == 4
    inspector.locator(f".region[data-region='{best}']").press("Enter")  # lets it go again
    expect(inspector.locator(".details")).not_to_contain_text(f"Region {best + 1}")

    inspector.locator(".matrix thead th[data-phrase='2'] button").click()
    turned = column(page, 2)
    assert turned == sorted(turned, reverse=True)
    page.mouse.move(5, 5)
    chip(page, 0).focus()
    expect(inspector.locator(".details")).to_contain_text("A red mug")
    assert calls == []


def test_a_phrase_that_is_absent_gets_no_region(page: Page) -> None:
    align(page)
    inspector = page.locator("#inspector")
    evidence = [
        float(re.search(r"evidence (-?[\d.]+)", title)[1])  # type: ignore[index]
        for title in inspector.locator(".phrase title").all_text_contents()
    ]
    between = sum(sorted(evidence[:3])[:2]) / 2
    least_evidence(page, between)
    gone = [index for index in range(3) if evidence[index] < between]
    assert len(gone) == 1
    expect(chip(page, gone[0])).to_contain_text("not here")
    expect(inspector.locator(".details li.absent").first).to_contain_text("not in this photo")
    assert inspector.locator(f".tie[data-phrase='{gone[0]}']").count() == 0
    assert inspector.locator(".tie").count() == 2


def test_what_is_on_screen_is_downloaded(page: Page, tmp_path: Path) -> None:
    align(page)
    files = {}
    for kind in ("json", "png", "svg"):
        with page.expect_download() as download:
            page.click(f"#inspector .get-{kind}")
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
    told = json.loads(files["json"].read_text(encoding="utf-8"))
    assert [p["text"] for p in told["phrases"]] == ["A red mug", "two dogs", "a sofa", CAPTION]
    assert len(told["scores"]) == len(told["boxes"])
    assert {"evidence", "region"} <= set(told["screen"])
    assert "photo" not in told
    svg = ET.fromstring(files["svg"].read_text(encoding="utf-8"))
    assert "".join(svg.itertext()).count("A red mug") >= 1
    with Image.open(files["png"]) as drawn:
        assert drawn.width == round(2 * float(svg.get("width", 0)))
        assert len(set(drawn.convert("RGB").resize((40, 40)).getdata())) > 50


def test_softly_matched_phrases_have_many_lines(page: Page, shared_engine: Engine) -> None:
    align(page)
    least_evidence(page, -9)
    expect(page.locator("#inspector .tie")).to_have_count(3)
    page.get_by_text("How words and regions are compared").click()
    page.get_by_label("all regions, softly (Eq. 4)").check()
    expect(page.locator("#inspector .tie")).not_to_have_count(3)
    found = shared_engine.align(
        DEMO / "coffee.jpg", CAPTION, AlignSettings(matching="softmax")
    ).alignment
    expect(page.locator("#inspector .details")).to_contain_text(f"{found.similarity:.3f}")


def test_markup_stays_words(page: Page) -> None:
    evil = '<img src=x onerror="document.title=1"> beside <svg onload=alert(1)> a dog </title><b>x'
    align(page, evil)
    page.fill("#inspector .add-text", '"><script>document.title=2</script>')
    page.press("#inspector .add-text", "Enter")
    expect(page.locator("#inspector .matrix")).to_contain_text("<script>")
    assert page.locator("#inspector img, #inspector script, #inspector b b").count() == 0
    assert page.locator("#inspector svg svg").count() == 0
    assert page.title() == "DetCLIPv2"
    with page.expect_download() as download:
        page.click("#inspector .get-svg")
    svg = ET.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
    tags = {node.tag.split("}")[1] for node in svg.iter()}
    assert tags <= {"svg", "g", "rect", "path", "circle", "text", "image", "title"}
    assert not any(name.startswith("on") for node in svg.iter() for name in node.attrib)


def test_a_narrow_page_needs_no_sideways_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    align(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    width = float(page.locator("#inspector .figure").get_attribute("width") or 0)
    assert 250 < width <= 390
