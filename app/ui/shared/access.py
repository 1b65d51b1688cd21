"""What visitors may name on this machine.

The operator, who started the app, may name any of its files, any host and use the key of its
environment. Others only upload, unless the start allowed them more: `--allow-folder` for folders,
and for hosts and Label Studio the environment's own.

An address proves nothing: behind a tunnel or a proxy everybody seems to sit at this machine, and
every page of a browser there sends requests from it. So the operator's page carries a secret that
only the terminal has shown, and sends it with every request of its own.
"""

from __future__ import annotations

import glob
import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import gradio as gr

from app.labelstudio.api.connection import Connection
from app.labelstudio.api.environment import URL_VARIABLES, environment_address, server_address
from app.runs.records import ImageRef
from app.runs.sources import HOSTS_VARIABLE, Hosts, is_address
from app.ui.shared.permissions import Permissions

TOKEN_HEADER = "x-detclipv2-token"
"""Carries the session token, which only the page itself sends."""


class AccessError(ValueError):
    """A visitor named what is not for visitors; the message says who can allow it."""


@dataclass(frozen=True)
class Access:
    """The rules of one app.

    Attributes:
        folders: what visitors may read from, resolved.
        token: secret of this start, which the operator's page sends; empty where nobody is the
            operator.
    """

    folders: tuple[Path, ...] = ()
    token: str = field(default="", repr=False)

    def is_operator(self, visitor: gr.Request) -> bool:
        """Whether the request comes from a page on this machine with this start's token."""
        headers = getattr(visitor, "headers", None) or {}
        sent = str(headers.get(TOKEN_HEADER, ""))
        matches = hmac.compare_digest(sent.encode(), self.token.encode())
        return bool(self.token) and matches and _is_loopback(visitor)

    def notice(self, visitor: gr.Request) -> str:
        """What a visitor may do here, in words; empty for the operator."""
        if self.is_operator(visitor):
            return ""
        closed = "You are a visitor here: upload photos; folders of this machine are closed"
        if self.folders:
            closed += f" but for {', '.join(map(str, self.folders))}"
        if not self.token:
            return f"{closed}. Who runs this app can open them to itself with --auth USER."
        return (
            f"{closed}. If you started this app, open the address that the terminal printed, with "
            "the part behind #."
        )

    def origin(self, visitor: gr.Request) -> str:
        """Where a visitor comes from, who sees their own runs again; empty for the operator.

        An address, or a single page's session where it is this machine's own, which all who come
        through one proxy share.
        """
        if self.is_operator(visitor) or visitor.client is None:
            return ""
        host = str(visitor.client.host)
        return f"{host}, page {visitor.session_hash}" if _is_loopback(visitor) else host

    def check_paths(self, texts: Iterable[str], visitor: gr.Request) -> None:
        """Raise AccessError if a visitor names a path outside the allowed folders."""
        for text in texts:
            if is_address(text):
                continue
            place(text)
            if self.is_operator(visitor):
                continue
            fixed = text
            while glob.has_magic(fixed):  # of a pattern the folder before its first star
                fixed = os.path.dirname(fixed)
            if ".." in Path(text).parts or not self._allows(Path(fixed).expanduser()):
                raise self._refusal(text)

    def check_images(self, images: Iterable[ImageRef], visitor: gr.Request) -> None:
        """`check_files` for those of the images that are on disk."""
        self.check_files((Path(image.place) for image in images if _on_disk(image)), visitor)

    def check_files(self, files: Iterable[Path], visitor: gr.Request) -> None:
        """The same for what was found: a link inside a folder may lead out of it."""
        if self.is_operator(visitor):
            return
        for file in files:
            if not self._allows(file):
                raise self._refusal(str(file))

    def permissions(self, visitor: gr.Request) -> Permissions:
        """`check_paths` and `check_files` for this visitor."""
        return Permissions(
            lambda texts: self.check_paths(texts, visitor),
            lambda files: self.check_files(files, visitor),
            lambda images: self.check_images(images, visitor),
        )

    def opens(self, images: Iterable[ImageRef]) -> bool:
        """Whether every visitor may see all of the images: those in the allowed folders."""
        return all(_on_disk(image) and self._allows(Path(image.place)) for image in images)

    def hosts(self, text: str, visitor: gr.Request) -> Hosts:
        """The hosts that this visitor's addresses may lead to: those of the form, if it counts."""
        allowed = Hosts.of()
        if not text.strip():
            return allowed
        wanted = Hosts.of(text)
        if not self.is_operator(visitor) and not wanted.names <= allowed.names:
            names = ", ".join(sorted(wanted.names - allowed.names))
            raise AccessError(
                f"only who started this app can allow {names}, on the page that the terminal names "
                f"or with {HOSTS_VARIABLE}"
            )
        return wanted

    def connect(self, url: str, key: str, visitor: gr.Request) -> Connection:
        """A connection to Label Studio.

        Raises:
            AccessError: a visitor names another server, or would use a key that is not theirs.
            LabelStudioError: no address or no key.
        """
        if self.is_operator(visitor):
            return Connection.from_environment(url or None, key or None)
        if url and server_address(url) != environment_address():
            raise AccessError(
                "visitors can only use the Label Studio that this app was started with; who runs "
                f"it can name one with {URL_VARIABLES[0]}"
            )
        if not key:
            raise AccessError("write your own key: the one of this machine is not for visitors")
        return Connection.from_environment(url or None, key)

    def _allows(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(resolved.is_relative_to(folder) for folder in self.folders)

    def _refusal(self, text: str) -> AccessError:
        open_to_all = ", ".join(map(str, self.folders)) or "none"
        return AccessError(
            f"{text}: visitors may not read this folder (open to them: {open_to_all}); upload the "
            "photos, open the page by the address that the terminal printed, or start the app "
            "with --allow-folder"
        )


def place(text: str) -> Path:
    """The path that somebody wrote.

    Raises:
        AccessError: a text that no path can be.
    """
    try:
        path = Path(text.strip()).expanduser()
        with suppress(PermissionError):  # a path all the same, and no more is said of it
            path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # ~nobody, thousands of letters, …
        raise AccessError(f"“{text[:80]}” is no path; check it") from error
    if "\0" in text:
        raise AccessError(f"“{text[:80]}” is no path; check it")
    return path


def _on_disk(image: ImageRef) -> bool:
    return image.task is None and not is_address(image.place)


def _is_loopback(visitor: gr.Request) -> bool:
    client = visitor.client
    try:
        return client is not None and ip_address(client.host).is_loopback
    except ValueError:  # a proxy's free text
        return False
