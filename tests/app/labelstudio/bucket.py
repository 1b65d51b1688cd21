"""A small S3-like storage over a folder: lists it, and hands files out to signed addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.app.labelstudio.proxy import serving

_LIST = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{name}</Name>
<KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
{contents}</ListBucketResult>"""
_ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


class _Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, bucket, key = (*unquote(address.path).split("/", 2), "")[:3]
        signed = "X-Amz-Signature" in parse_qs(address.query) or "Authorization" in self.headers
        file = self.folder / key
        if not signed or bucket != self.folder.name:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        elif not key:
            files = sorted(self.folder.iterdir())
            contents = "".join(
                _ENTRY.format(key=escape(one.name), size=one.stat().st_size) for one in files
            )
            listed = _LIST.format(name=bucket, count=len(files), contents=contents)
            self._answer(200, listed.encode(), "application/xml")
        elif file.is_file():
            self._answer(200, file.read_bytes(), "image/jpeg")
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def bucket(folder: Path) -> Iterator[str]:
    """Address of a storage with one bucket, named and filled like `folder`."""
    with serving(type("Bucket", (_Bucket,), {"folder": folder})) as url:
        yield url
