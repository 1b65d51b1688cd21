"""Label Studio's storages of kind "local files": who hands photos out, and whose sync makes tasks.

The server hands out a file only if a storage covers its folder. A storage's sync makes a task for
every file that no sync of it has seen, whatever tasks the project has. So the storages made here
hand out only: their filter lets no file through. And files that a storage of somebody else would
find get their tasks by its sync, not beside it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from app.labelstudio.api import shapes
from app.labelstudio.api.connection import Connection, LabelStudioError

_PATH = "/api/storages/localfiles"
_OWN = " (detclipv2)"
"""What the titles of our storages end with."""
_NOTHING = "(?!)"
"""A filter that no name passes."""
_LONGEST = 1800
"""Seconds that a sync may take."""


def storages(connection: Connection, project: int) -> list[shapes.LocalStorage]:
    """The project's storages of local files."""
    return connection.read(list[shapes.LocalStorage], _PATH, params={"project": project})


def sync_finders(connection: Connection, project: int, root: Path, relative: Sequence[str]) -> bool:
    """Sync the storages of others that would find one of these files; returns whether there are.

    Args:
        connection: the server.
        project: its number.
        root: the document root.
        relative: files below it.
    """
    found = [
        one
        for one in storages(connection, project)
        if not _is_own(one) and any(_finds(one, root / name) for name in relative)
    ]
    for one in found:
        _sync(connection, one["id"])
    return bool(found)


def serve(connection: Connection, project: int, root: Path, relative: Sequence[str]) -> None:
    """Make the server hand these files out; see `sync_finders`."""
    there = storages(connection, project)
    for one in there:
        if _is_own(one) and one.get("regex_filter") != _NOTHING:  # of an older version
            # the server checks the path again, and takes it from the request
            change = {"path": one.get("path"), "regex_filter": _NOTHING}
            connection.write("PATCH", f"{_PATH}/{one['id']}", json=change, what="storage")
    covered = [Path(path) for one in there if (path := one.get("path"))]
    for top in sorted({name.split("/")[0] for name in relative}):
        if any((root / top).is_relative_to(path) for path in covered):
            continue
        body = {
            "project": project,
            "path": str(root / top),
            "use_blob_urls": True,
            "title": f"{top}{_OWN}",
            "recursive_scan": True,
            "regex_filter": _NOTHING,
            "description": "Hands files out; a sync makes no tasks, they are there already.",
        }
        connection.write("POST", _PATH, json=body, what=f"storage {top}")


def _is_own(storage: shapes.LocalStorage) -> bool:
    return (storage.get("title") or "").endswith(_OWN)


def _finds(storage: shapes.LocalStorage, file: Path) -> bool:
    """Whether the storage's sync makes a task for this file."""
    path = Path(storage.get("path") or "/nowhere")
    below = file.is_relative_to(path) if storage.get("recursive_scan") else file.parent == path
    if not below or not storage.get("use_blob_urls"):
        return False
    try:
        return re.match(storage.get("regex_filter") or "", file.name) is not None
    except re.error:  # its sync finds nothing, either
        return False


def _sync(connection: Connection, storage: int) -> None:
    what = f"storage {storage}"
    connection.write("POST", f"{_PATH}/{storage}/sync", what=what)
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end:
        now = connection.read(shapes.LocalStorage, f"{_PATH}/{storage}", what=what)
        if now.get("status") not in ("queued", "in_progress"):
            return
        time.sleep(1)
    raise LabelStudioError(
        f"{what} is being synced by the server for more than {_LONGEST // 60} minutes; look at it "
        "in the project's settings, Cloud Storage, and start again"
    )
