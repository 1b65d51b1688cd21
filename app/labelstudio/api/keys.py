"""Label Studio's keys: which kind one is, and who may see it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from app.labelstudio.api.environment import KEY_VARIABLES
from app.labelstudio.api.errors import LabelStudioError


class Key:
    """A key and the server it belongs to. No message or repr shows it.

    Personal tokens are never sent with a request: they are exchanged for access tokens, which
    expire.

    Args:
        server: the address that the key belongs to.
        key: a personal access token, a short-lived access token or a legacy token.

    Raises:
        LabelStudioError: it cannot be a key.
    """

    def __init__(self, server: str, key: str) -> None:
        self.server = httpx.URL(server)
        self._key = key.strip()
        if not self._key:
            raise LabelStudioError(
                "there is no key; copy one from Label Studio's Account & Settings, or set "
                f"{KEY_VARIABLES[0]}"
            )
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise LabelStudioError(
                "the key has characters that no key has; copy it again from Label Studio's "
                "Account & Settings"
            )
        self.kind = kind_of_key(self._key)
        self.personal = _claims(self._key).get("token_type") == "refresh"
        self.access = "" if self.personal else self._key
        """What signs requests; empty until a personal token was exchanged."""

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    @property
    def exchange(self) -> dict[str, str]:
        """The body of the request that exchanges a personal token."""
        return {"refresh": self._key}

    def hidden(self, text: str) -> str:
        """The text without the key, which a server may have sent back."""
        for secret in filter(None, (self._key, self.access)):
            text = text.replace(secret, "<key>")
        return text

    def sign(self, url: httpx.URL) -> dict[str, str]:
        """The header of a request to the key's own server.

        Raises:
            LabelStudioError: the address is of another server.
        """
        if not is_below(url, self.server):
            raise LabelStudioError(f"the key of {self.server} is not sent to {_origin(url)}")
        bearer = "Bearer" if _claims(self.access) else "Token"
        return {"Authorization": f"{bearer} {self.access}"}


def is_below(url: httpx.URL, server: httpx.URL) -> bool:
    """Whether an address is of this server: the same scheme, host and port, and its sub-path."""
    same = (url.scheme, url.host, url.port) == (server.scheme, server.host, server.port)
    if not same or url.userinfo or ".." in url.path.split("/"):
        return False
    return f"{url.path}/".startswith(f"{server.path.rstrip('/')}/")


def kind_of_key(key: str) -> str:
    """Which of Label Studio's keys it is, from its form alone."""
    kind = _claims(key).get("token_type")
    if kind == "refresh":
        return "personal access token"
    return "short-lived access token" if kind else "legacy token"


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"


def _claims(key: str) -> dict[str, Any]:
    """What a JWT says of itself, unverified; empty for other keys."""
    try:
        _, body, _ = key.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
