"""What visitors from other machines may name: allowed folders, no hosts, no key of ours."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from app.runs import sources
from app.ui.access import Access, AccessError, is_local


def visitor(host: str) -> gr.Request:
    return gr.Request(Request({"type": "http", "headers": [], "client": (host, 1)}))


HERE, ELSEWHERE = visitor("127.0.0.1"), visitor("203.0.113.7")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("192.168.0.2", False),
     ("fe80::1", False), ("unknown", False)],
)  # fmt: skip
def test_who_sits_here(host: str, local: bool) -> None:
    assert is_local(visitor(host)) is local


def test_folders_that_were_allowed_and_nothing_around_them(photos: Path, tmp_path: Path) -> None:
    access = Access(((photos / "sub").resolve(),))
    access.check_paths([str(photos), "/etc"], HERE)
    inside = [str(photos / "sub"), str(photos / "sub" / "*.jpg"), "https://host/a.jpg"]
    access.check_paths(inside, ELSEWHERE)
    around = ("", "/*/coffee.jpg", "/sub/../coffee.jpg", "/sub/*/../../coffee.jpg", "/subway")
    for outside in (*(f"{photos}{end}" for end in around), "~", "*.jpg"):
        with pytest.raises(AccessError, match=r"may not read .* --allow-folder"):
            access.check_paths([outside], ELSEWHERE)
    access.check_images(sources.find_images([photos / "sub"]), ELSEWHERE)
    (photos / "sub" / "link.jpg").symlink_to(photos / "coffee.jpg")
    found = sources.find_images([photos / "sub"])
    access.check_images(found, HERE)
    with pytest.raises(AccessError, match=r"coffee\.jpg"):
        access.check_images(found, ELSEWHERE)


def test_hosts_and_keys_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access()
    monkeypatch.setenv("DETCLIPV2_IMAGE_HOSTS", "photos.example")
    assert access.hosts("inside.example", HERE).names == {"inside.example"}
    assert access.hosts("", ELSEWHERE).names == {"photos.example"}
    assert access.hosts("photos.example", ELSEWHERE).names == {"photos.example"}
    with pytest.raises(AccessError, match=r"cannot allow inside\.example"):
        access.hosts("photos.example, inside.example", ELSEWHERE)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://labels.example/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "1" * 40)
    assert access.connect("", "", HERE).url == "http://labels.example"
    with pytest.raises(AccessError, match="your own key"):
        access.connect("", "", ELSEWHERE)
    with pytest.raises(AccessError, match="was started with"):
        access.connect("http://inside.example", "2" * 40, ELSEWHERE)
    assert access.connect("http://labels.example", "2" * 40, ELSEWHERE).url.endswith("example")
