"""Label Studio's webhooks to a live backend that asks for a password.

Label Studio makes a webhook for every backend that is connected, and gives it no password.
"""

from __future__ import annotations

import base64
import logging
import threading

from app.labelstudio.api import shapes
from app.labelstudio.api.connection import Connection, LabelStudioError

log = logging.getLogger(__name__)


def sign_webhooks(connection: Connection, project: int, url: str, login: tuple[str, str]) -> int:
    """Give the project's webhooks to `url` the login's header; how many have it now.

    Raises:
        LabelStudioError: the server cannot be asked, or refuses.
    """
    credentials = base64.b64encode(":".join(login).encode()).decode()
    header = {"Authorization": f"Basic {credentials}"}
    found = [
        hook
        for hook in connection.read(
            list[shapes.Webhook], "/api/webhooks/", params={"project": project}
        )
        if hook["url"] == url and hook.get("project") == project
    ]
    for hook in found:
        there = hook.get("headers") or {}
        if not header.items() <= there.items():
            headers = {**there, **header}
            connection.write("PATCH", f"/api/webhooks/{hook['id']}/", json={"headers": headers})
    return len(found)


class WebhookSigner:
    """Signs each project's webhooks once, beside the requests of `http`. Thread-safe."""

    def __init__(self, connection: Connection, login: tuple[str, str]) -> None:
        self._connection, self._login = connection, login
        self._busy = threading.Lock()
        self._signed: set[tuple[str, str]] = set()

    def see(self, project: str, url: str) -> None:
        """A project asks, and reaches this backend's webhook at `url`."""
        if project.isdecimal() and (project, url) not in self._signed:
            threading.Thread(target=self._sign, args=(project, url), daemon=True).start()

    def _sign(self, project: str, url: str) -> None:
        with self._busy:
            if (project, url) in self._signed:
                return
            try:
                if sign_webhooks(self._connection, int(project), url, self._login):
                    self._signed.add((project, url))
            except LabelStudioError as error:
                log.warning("the webhook of project %s gets no password: %s", project, error)
