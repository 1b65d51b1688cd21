"""The classes as read, below every box of prompts, while one types in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("tab", "box", "prefix"),
    [
        ("Detect", "#prompts", "prompts"),
        ("Compare", "#compare-words-a", "compare-words-a"),
        ("Compare", "#compare-words-b", "compare-words-b"),
        ("Batch", "#batch-prompts", "batch-prompts"),
    ],
)
def test_classes_are_shown_while_one_types(page: Page, tab: str, box: str, prefix: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()
    shown = page.locator(f"#{prefix}-reading")
    field = page.locator(f"{box} textarea")
    field.press_sequentially("cat . dog .", delay=20)
    classes = shown.get_by_role("list", name="Classes as read").get_by_role("listitem")
    expect(classes).to_have_text(["cat", "dog"])
    expect(shown.get_by_role("list", name="Notes")).to_contain_text("full stops separate classes")
    field.fill("cup: mug @0.4\n!shadow\n<img src=x onerror=alert(1)>, kettel")
    expect(classes).to_have_text(
        ["cup or mug @0.4", "not shadow", "<img src=x onerror=alert(1)>", "kettel"]
    )
    expect(shown).to_contain_text("did you mean 'kettle'")
    assert shown.locator("img").count() == 0
    field.fill("a: b: c")
    expect(shown).to_contain_text("quotes round words that hold a colon")
    field.fill("")
    expect(classes).to_have_count(0)


def test_a_sample_shows_its_classes(page: Page) -> None:
    page.click("#sample-1")
    classes = page.locator("#prompts-reading").get_by_role("listitem")
    expect(classes.first).to_have_text("cup or mug, espresso cup @0.4")
