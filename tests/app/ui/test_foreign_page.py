"""A real browser that a foreign page sends to the page's server gets nothing."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from gradio_client import Client
from playwright.sync_api import BrowserContext

from app.engine import Engine
from app.ui.build import build_app
from app.ui.request_guard import ServedNames
from app.ui.serve import guarded
from tests.app.ui.visitors import RULES, TOKEN, serving
from tests.places import DEMO

COFFEE = DEMO / "coffee.jpg"


@dataclass(frozen=True)
class GuardedPage:
    """The real page behind the guard, and the paths of requests that came through."""

    port: int
    passed: list[str]


@pytest.fixture(scope="module")
def guarded_page(shared_engine: Engine) -> Iterator[GuardedPage]:
    passed: list[str] = []
    guard = guarded(build_app(shared_engine, RULES), ServedNames.of("127.0.0.1"))
    page = guard._app

    async def recording(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope.get("path", ""))
        await page(scope, receive, send)

    guard._app = recording
    with serving(guard) as address:
        yield GuardedPage(int(address.rsplit(":", 1)[1].strip("/")), passed)


ATTACK = """async (target) => {
  const told = {};
  const attempt = async (name, work) => {
    try { told[name] = await work(); } catch (error) { told[name] = `refused: ${error.name}`; }
  };
  const join = JSON.stringify({ fn_index: 0, data: [], session_hash: "hostile" });
  await attempt("read page", async () => (await fetch(target)).text());
  await attempt("read config", async () => (await fetch(target + "config")).text());
  await attempt("post queue", async () => (await fetch(target + "gradio_api/queue/join",
    { method: "POST", headers: { "content-type": "application/json" }, body: join })).text());
  await attempt("post without reading", async () => (await fetch(target + "gradio_api/queue/join",
    { method: "POST", mode: "no-cors", body: join })).type);
  await attempt("upload", async () => { const form = new FormData();
    form.append("files", new File(["x"], "x.png"));
    return (await fetch(target + "gradio_api/upload", { method: "POST", body: form })).text(); });
  const shows = (tag, field, url) => new Promise((done) => { const e = document.createElement(tag);
    e.onload = () => done("loaded"); e.onerror = () => done("refused"); e[field] = url;
    document.body.append(e); });
  await attempt("picture", () => shows("img", "src", target + "gradio_api/file=" + SAMPLE));
  await attempt("script", () => shows("script", "src", target + "config"));
  await attempt("web socket", () => new Promise((done) => {
    const socket = new WebSocket(target.replace("http", "ws") + "gradio_api/queue/join");
    socket.onopen = () => done("opened"); socket.onerror = () => done("refused"); }));
  const frame = document.createElement("iframe");
  frame.src = target; document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  return told;
}"""


class _Hostile(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<body>a page of somebody else</body>")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def hostile_page() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site.server_address[1]
        site.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["evil.example", "localhost"])
def test_a_foreign_page_gets_nothing(
    browser: BrowserContext, guarded_page: GuardedPage, name: str
) -> None:
    """As another site, and as another server of this machine, which is the same site."""
    assert browser.browser is not None
    port, passed = guarded_page.port, guarded_page.passed
    launcher = browser.browser.browser_type
    chromium = launcher.launch(
        executable_path=shutil.which("chromium"),
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--host-resolver-rules=MAP *.example 127.0.0.1",
        ],
    )
    page = chromium.new_page()
    attack = ATTACK.replace("SAMPLE", json.dumps(str(COFFEE)))
    targets = [f"http://{host}:{port}/" for host in ("127.0.0.1", "localhost")]
    passed.clear()
    with hostile_page() as elsewhere:
        page.goto(f"http://{name}:{elsewhere}/")
        for target in targets:
            told = page.evaluate(attack, target)
            # a browser hides the answer to what is sent without reading; `passed` tells
            assert told.pop("post without reading") == "opaque"
            assert set(told.values()) <= {"refused", "refused: TypeError"}, told
        assert len(page.frames) == 3
        for frame in page.frames[1:]:
            assert "DetCLIPv2" not in frame.content()
    assert passed == []
    # the name of somebody else that leads here
    answer = page.goto(f"http://evil.example:{port}/")
    assert answer is not None and answer.status == 403
    assert "--allow-host" in page.locator("body").inner_text()
    # the page itself works there, also by its other name, and may do all of it
    page.goto(f"http://localhost:{port}/#token={TOKEN}")
    page.wait_for_selector("#detect")
    told = page.evaluate(attack, f"http://localhost:{port}/")
    assert "DetCLIPv2" in told["read config"] and told["picture"] == "loaded"
    assert "event_id" in told["post queue"] and "x.png" in told["upload"]
    chromium.close()


def test_with_a_password_nothing_is_answered_without(shared_engine: Engine) -> None:
    page = guarded(build_app(shared_engine, RULES), ServedNames(), auth=("me", "secret"))
    with serving(page) as address:
        for path in ("config", "gradio_api/info", "gradio_api/queue/join"):
            answer = httpx.request("POST" if "join" in path else "GET", address + path, json={})
            assert answer.status_code == 401, path
        with pytest.raises(Exception, match=r"Could not fetch|credentials|401"):
            Client(address, verbose=False)
        told = Client(address, auth=("me", "secret"), verbose=False).predict(api_name="/info")
        assert told["model"] == shared_engine.name
