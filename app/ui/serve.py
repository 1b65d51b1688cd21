"""Serving the page over HTTP: gradio behind the request guard, by uvicorn."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gradio as gr
import uvicorn
from fastapi import FastAPI

from app.ui.build import page_options
from app.ui.request_guard import RequestGuard, ServedNames

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_SESSIONS = 200
"""Visitors whose results are kept in memory."""


def guarded(
    page: gr.Blocks,
    names: ServedNames,
    *,
    trusted_proxies: Sequence[str] = (),
    auth: tuple[str, str] | None = None,
) -> RequestGuard:
    """The page as an ASGI application that answers its own page only.

    Args:
        page: what `build_app` gives.
        names: under which it answers.
        trusted_proxies: see `RequestGuard`.
        auth: user and password that everything asks for; None for nothing.
    """
    page.state_session_capacity = _SESSIONS
    mounted = gr.mount_gradio_app(FastAPI(openapi_url=None), page, "/", auth=auth, **page_options())
    return RequestGuard(mounted, names, trusted_proxies)


def listen(host: str, port: int) -> socket.socket:
    """A socket on the address.

    Raises:
        OSError: it is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family)


def server(app: ASGIApp, started: Callable[[], None]) -> uvicorn.Server:
    """What serves: `server(app, started).run(sockets=[listen(host, port)])`.

    Args:
        app: what `guarded` gives.
        started: called once visitors are answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        proxy_headers=False,  # the guard knows which proxies to believe
        server_header=False,
        timeout_graceful_shutdown=1,  # pages keep a connection open
    )
    return _Server(config, started)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # that the connections of open pages end is no error
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
