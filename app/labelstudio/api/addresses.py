"""Addresses of images in tasks: one reader for every spelling that Label Studio knows."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote, unquote_plus

Kind = Literal["local file", "upload", "cloud", "address", "inline"]

LOCAL = "/data/local-files/"
UPLOAD = "/data/upload/"


@dataclass(frozen=True)
class Address:
    """What an image's address in a task means.

    Attributes:
        kind: where it leads.
        path: of a local file relative to the document root, of an upload its name on the server,
            else the address itself.
    """

    kind: Kind
    path: str

    @property
    def key(self) -> str:
        """Equal for all spellings of the same image."""
        return f"{self.kind}:{self.path}"

    @property
    def file_name(self) -> str:
        """The image's folders and name; of addresses and clouds without host or bucket."""
        path = self.path
        if self.kind == "address":  # elsewhere "#" and "?" are part of the name
            path = re.split(r"[?#]", path, maxsplit=1)[0]
        if self.kind in ("address", "cloud") and "://" in path:
            path = path.split("://", 1)[1].partition("/")[2]
        return path.strip("/")


def read_address(url: str) -> Address:
    """Take an address apart: host prefixes and sub-paths go, percent signs are decoded."""
    if url.startswith("data:"):
        return Address("inline", url)
    if LOCAL in url and "?d=" in url:
        # A raw "#" is part of the name here, though a browser would cut it off.
        path = unquote_plus(url.split("?d=", 1)[1].split("&", 1)[0]).replace("\\", "/")
        return Address("local file", str(PurePosixPath(path)).lstrip("/"))
    if UPLOAD in url:
        return Address("upload", unquote_plus(url.split(UPLOAD, 1)[1].split("?", 1)[0]))
    if (original := _unresolved(url)) is not None:
        return Address("cloud", original)
    if re.match(r"(s3|gs|azure-blob|azure-spi|redis)://", url):
        return Address("cloud", url)
    return Address("address", url)


def _unresolved(url: str) -> str | None:
    """The address in a cloud behind the one that the server makes of it for its pages."""
    found = re.search(r"/(?:tasks|projects)/\d+/(?:resolve|presign)/\?fileuri=([\w=-]+)", url)
    if found is None:
        return None
    try:
        return base64.urlsafe_b64decode(found[1]).decode()
    except ValueError:  # somebody else's address that looks like it
        return None


def local_address(relative: str, sub_path: str = "") -> str:
    """The address that storage sync gives a file.

    Args:
        relative: its path below the document root.
        sub_path: of the server, which pages need in front of it.
    """
    return f"{sub_path}{LOCAL}?d={quote(relative)}"
