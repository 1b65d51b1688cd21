"""Links in the page: the button that copies one, and following the one in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.ui.shared.events import MODEL, PRIVATE
from app.ui.shared.permalink import Link, LinkError
from app.ui.shared.toasts import toast

_COPY = """(query) => {
  const address = location.origin + location.pathname + query;
  history.replaceState(null, "", address);
  navigator.clipboard?.writeText(address).catch(() => {});
}"""
"""Puts a link into the address bar and, where allowed, into the clipboard."""


@dataclass(frozen=True, eq=False)
class Followed:
    """How a tab follows a link.

    Attributes:
        view: the tab's id, as links name it.
        follow: gives the values of `shown` for a link and who follows it; ValueError or TypeError
            for a link it cannot use.
        shown: the components that a link restores.
    """

    view: str
    follow: Callable[[Link, gr.Request], Sequence[Any]]
    shown: list[Any]


def copies_link(event: Callable[..., Any], make: Callable[..., str], inputs: Sequence[Any]) -> None:
    """Let `event`, e.g. a button's click, copy the link whose query `make` gives."""
    address = gr.Textbox(visible=False)
    event(make, inputs, address, **PRIVATE).success(None, address, js=_COPY, **PRIVATE)


def follow_links(app: gr.Blocks, tabs: gr.Tabs, followed: Sequence[Followed]) -> None:
    """Restore what the page's address describes when the page comes up."""

    def follow(request: gr.Request) -> list[Any]:
        query = {name: str(value) for name, value in dict(request.query_params).items()}
        try:
            link = Link.read(query)
        except LinkError as error:
            raise toast(error) from error
        shown = [gr.skip() if link is None else gr.Tabs(selected=link.view)]
        for tab in followed:
            if link is None or link.view != tab.view:
                shown += [gr.skip() for _ in tab.shown]
                continue
            try:
                shown += tab.follow(link, request)
            except (TypeError, ValueError) as error:
                raise toast(f"this link cannot be followed: {error}") from error
        return shown

    every = [component for tab in followed for component in tab.shown]
    app.load(follow, None, [tabs, *every], show_progress="hidden", **MODEL, **PRIVATE)
