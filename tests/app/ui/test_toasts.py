"""Messages that pop up show the words of others as they are."""

from __future__ import annotations

import ast
import json
from urllib.parse import urlencode

import gradio as gr
import pytest
from playwright.sync_api import BrowserContext, expect

from app.ui.shared.toasts import refusal, toast
from tests.places import REPO

UI = REPO / "app" / "ui"
HOSTILE = '<h1>Log in again</h1><img src="http://evil.example/beacon">'


def test_only_one_module_makes_toasts() -> None:
    """HTML is how gradio shows the message of `gr.Error`, `gr.Warning` and `gr.Info`."""
    found = {
        file.name
        for file in UI.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("Error", "Warning", "Info", "Success")
        and isinstance(node.value, ast.Name)
        and node.value.id == "gr"
    }
    assert found == {"toasts.py"}


def test_the_page_gets_text_and_programs_get_the_words() -> None:
    assert "<" not in toast(ValueError(HOSTILE)).message
    assert refusal(ValueError(HOSTILE)).message == HOSTILE
    assert isinstance(toast("a"), gr.Error)


@pytest.mark.browser
@pytest.mark.parametrize("view", ["detect", "compare", "browse"])
def test_a_crafted_link_draws_nothing(browser: BrowserContext, served: str, view: str) -> None:
    settings = {"threshold": HOSTILE, "page": HOSTILE, "most": HOSTILE}
    query = {"view": view, "words": HOSTILE, "state": json.dumps({"settings": settings})}
    page, asked = browser.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served}?{urlencode(query)}")
    said = page.get_by_test_id("toast-body")
    expect(said).to_contain_text("this link cannot be followed")
    expect(said).to_contain_text("<h1>Log in again</h1>")
    assert said.locator("h1, img").count() == 0
    assert page.locator("h1").all_inner_texts() == ["DetCLIPv2"]
    assert not [url for url in asked if not url.startswith((served, "data:", "blob:"))]
    page.close()
