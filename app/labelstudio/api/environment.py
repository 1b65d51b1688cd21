"""Which Label Studio the environment names, and its key, which no other server is sent."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import httpx

from app.labelstudio.api.errors import LabelStudioError

URL_VARIABLES = ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")
KEY_VARIABLES = ("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN")
DOCUMENT_ROOT = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
"""Names Label Studio's folder of local files, where it is on this machine."""


def server_address(written: str) -> str:
    """An address in the one spelling that addresses are compared in.

    Scheme and host in lower case, no port that the scheme implies, no slash at the end.

    Args:
        written: the server's address, with the sub-path if it is deployed under one.

    Raises:
        LabelStudioError: it is no address of a server.
    """
    try:
        url = httpx.URL(written.strip())
    except httpx.InvalidURL as error:
        raise _no_address(written, str(error)) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _no_address(written, "it begins with http:// or https://, then the host")
    if url.userinfo or url.query or url.fragment:
        raise _no_address(written, "no user, no “?” and no “#” belong in it")
    segments = [part for part in url.path.split("/") if part]
    if any(unquote(part) in (".", "..") for part in segments):
        raise _no_address(written, "write its path without dots")
    path = "".join(f"/{part}" for part in url.raw_path.decode("ascii").split("/") if part)
    return str(url.copy_with(raw_path=b"/")).rstrip("/") + path


def environment_address() -> str | None:
    """The server that the environment names; None when it names none.

    Raises:
        LabelStudioError: what it names is no address.
    """
    written = _first(URL_VARIABLES)
    return None if written is None else server_address(written[1])


def environment_key(server: str) -> str:
    """The environment's key, for the environment's server only; empty when it has none.

    Args:
        server: where the key is to be sent, as `server_address` gives it.

    Raises:
        LabelStudioError: the environment has a key, of another server or of nobody knows which.
    """
    found = _first(KEY_VARIABLES)
    if found is None:
        return ""
    name, key = found
    own = environment_address()
    if own is None:
        raise LabelStudioError(
            f"${name} is set, but nothing says that it is the key of {server}, so it is not sent "
            f"there; set {URL_VARIABLES[0]}={server}, or give that server's key itself (--key-file)"
        )
    if own != server:
        raise LabelStudioError(
            f"${name} is the key of {own} and is not sent to {server}; give that server's own key "
            f"(--key-file), or set {URL_VARIABLES[0]} to it"
        )
    return key


def document_root() -> Path | None:
    """Label Studio's folder of local files, if the environment names it."""
    written = os.environ.get(DOCUMENT_ROOT)
    return Path(written) if written else None


def _first(names: tuple[str, ...]) -> tuple[str, str] | None:
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), None)


def _no_address(written: str, why: str) -> LabelStudioError:
    return LabelStudioError(
        f"{written!r} is no address of a server ({why}); write e.g. http://localhost:8080"
    )
