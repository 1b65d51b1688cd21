"""What a labeler sees of the live backend's answers in Label Studio's own page."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.backend.service import Backend
from detclipv2.serving import DetectSettings
from tests.app.labelstudio.conftest import EMAIL, PASSWORD, PROMPTED, Server
from tests.app.labelstudio.test_backend_door import serving
from tests.app.labelstudio.test_usable_reviews import inline

pytestmark = pytest.mark.browser
SMART = PROMPTED.replace('name="prompt"', 'name="prompt" smart="true"').replace(
    'name="label"', 'name="label" smart="true"'
)


def signed_in(browser: BrowserContext, server: Server) -> Page:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{server.url}/user/login/")
    if "/login" in page.url:  # the tests share one browser
        page.fill("input[name=email]", os.environ.get("LABEL_STUDIO_TEST_EMAIL", EMAIL))
        page.fill("input[name=password]", os.environ.get("LABEL_STUDIO_TEST_PASSWORD", PASSWORD))
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
    return page


def test_a_labeler_reads_why_a_prompt_is_not_followed(
    browser: BrowserContext, server: Server, connection: Connection, engine: Engine
) -> None:
    backend = Backend(
        lambda: engine.predictor,
        TaskImages(connection),
        connection,
        settings=DetectSettings(threshold=0.02),
    )
    list(backend.predict([], SMART, "0"))
    project = connection.write(
        "POST", "/api/projects/", json={"title": "prompts", "label_config": SMART}
    )["id"]
    task = {"image": inline((320, 240))}
    connection.write("POST", f"/api/projects/{project}/import", json=[task])
    (number,) = (one["id"] for one in connection.pages({"project": project, "include": "id"}))
    with serving(backend) as client:
        connection.write(
            "POST",
            "/api/ml/",
            json={
                "project": project,
                "url": str(client.base_url),
                "title": "DetCLIPv2",
                "is_interactive": True,
            },
        )
        page = signed_in(browser, server)
        page.goto(f"{server.url}/projects/{project}/data?task={number}")
        page.wait_for_function("() => window.Htx?.annotationStore?.selected?.names?.size > 0")
        page.evaluate("window.Htx.setAutoAnnotation(true)")
        page.evaluate("window.Htx.setAutoAcceptSuggestions(true)")
        found = "window.Htx.annotationStore.selected.regions.filter((r) => r.fromSuggestion)"
        named = f"{found}.filter((r) => !r.classification).map((r) => r.labels[0])"
        text = page.get_by_test_id("textarea-input")
        text.fill("zebra")
        text.press("Enter")
        expect(page.locator("body")).to_contain_text("DetCLIPv2: no label takes zebra")
        assert page.evaluate(named) == []
        text.fill("cup")
        text.press("Enter")
        page.wait_for_function(f"() => {named}.length > 0")
        assert set(page.evaluate(named)) == {"cup"}
        page.close()
