"""What visitors from other machines may name on this one.

Whoever sits at this machine may name any of its files, any host and use the key of its environment.
Others only upload, unless the start allowed them more: `--allow-folder` for folders, and for hosts
and Label Studio the environment's own.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import gradio as gr

from app.labelstudio.connection import URL_VARIABLES, Connection
from app.runs.records import ImageRef
from app.runs.sources import HOSTS_VARIABLE, Hosts, is_address


class AccessError(ValueError):
    """A visitor named what is not for visitors; the message says who can allow it."""


@dataclass(frozen=True)
class Access:
    """The rules of one app.

    Attributes:
        folders: what visitors from other machines may read from, resolved.
    """

    folders: tuple[Path, ...] = ()

    def check_paths(self, texts: Iterable[str], visitor: gr.Request) -> None:
        """Raise AccessError if a visitor names a path outside the allowed folders."""
        if is_local(visitor):
            return
        for text in texts:
            if is_address(text):
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
        if is_local(visitor):
            return
        for file in files:
            if not self._allows(file):
                raise self._refusal(str(file))

    def opens(self, images: Iterable[ImageRef]) -> bool:
        """Whether every visitor may see all of the images: those in the allowed folders."""
        return all(_on_disk(image) and self._allows(Path(image.place)) for image in images)

    def hosts(self, text: str, visitor: gr.Request) -> Hosts:
        """The hosts that this visitor's addresses may lead to: those of the form, if it counts."""
        allowed = Hosts.of()
        if not text.strip():
            return allowed
        wanted = Hosts.of(text)
        if not is_local(visitor) and not wanted.names <= allowed.names:
            names = ", ".join(sorted(wanted.names - allowed.names))
            raise AccessError(
                f"visitors from other machines cannot allow {names}; who runs this app can, with "
                f"{HOSTS_VARIABLE}"
            )
        return wanted

    def connect(self, url: str, key: str, visitor: gr.Request) -> Connection:
        """A connection to Label Studio.

        Raises:
            AccessError: a visitor names another server, or would use a key that is not theirs.
            LabelStudioError: no address or no key.
        """
        if is_local(visitor):
            return Connection.from_environment(url or None, key or None)
        known = [os.environ[name].rstrip("/") for name in URL_VARIABLES if os.environ.get(name)]
        if url and url.rstrip("/") not in known:
            raise AccessError(
                "visitors from other machines can only use the Label Studio that this app was "
                f"started with; who runs it can name one with {URL_VARIABLES[0]}"
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
            f"{text}: visitors from other machines may not read this folder (open to them: "
            f"{open_to_all}); upload the photos, or ask for a start with --allow-folder"
        )


def _on_disk(image: ImageRef) -> bool:
    return image.task is None and not is_address(image.place)


def origin(visitor: gr.Request) -> str:
    """The address that a visitor from another machine comes from; empty for who sits here."""
    return "" if is_local(visitor) or visitor.client is None else str(visitor.client.host)


def is_local(visitor: gr.Request) -> bool:
    """Whether the visitor sits at this machine, also where a proxy says so for them."""
    client = visitor.client
    try:
        return client is not None and ip_address(client.host).is_loopback
    except ValueError:  # a proxy's free text
        return False
