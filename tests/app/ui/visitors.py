"""Requests of a page's visitors, as its handlers get them, and a page for them to visit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.requests import Request

from app.ui.serve import listen, server
from app.ui.shared.access import TOKEN_HEADER, Access
from detclipv2.serving import Looks

TOKEN = "a token of 24 random bytes"


def visitor(host: str, token: str = "", session: str = "mine") -> gr.Request:
    """A request from an address, with a token if there is one."""
    headers = [(TOKEN_HEADER.encode(), token.encode())] if token else []
    asked = Request({"type": "http", "headers": headers, "client": (host, 1)})
    return gr.Request(asked, session_hash=session)


HERE, ELSEWHERE = visitor("127.0.0.1", TOKEN), visitor("203.0.113.7")
"""The operator, who started the app on this machine, and somebody else."""
RULES = Access(token=TOKEN)
"""Of an app that the operator started without options."""
LOOKS: tuple[Looks, Looks] = ("thorough", "thorough")
"""What the Compare tab says of its two sides where nobody chose."""


def finished(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, also while a browser's event loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an ASGI application that is served by a thread of this process."""
    ready = threading.Event()
    serves = server(app, ready.set)
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=serves.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        assert ready.wait(30)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
        serves.should_exit = True
        thread.join(20)
