"""Tasks for a run's images: referred to through local-files storage, or uploaded; never twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from app.formats.image_kinds import UPLOAD_KINDS
from app.labelstudio.api import shapes
from app.labelstudio.api.addresses import local_address, read_address
from app.labelstudio.api.config_map import config_for
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.images import data_for_photos
from app.labelstudio.api.shapes import checked
from app.labelstudio.api.storages import serve, sync_finders
from app.progress import OnProgress, ignore_progress
from app.runs.files import SourceError
from app.runs.records import ImageRef
from detclipv2.datasets.image_kinds import is_kind
from detclipv2.language.vocabulary import Vocabulary

_CHUNK = 500


@dataclass(frozen=True)
class TaskReport:
    """Tasks made, and images that had one."""

    created: int
    there: int


def create_project(connection: Connection, title: str, vocabulary: Vocabulary) -> int:
    """A project with one label a class; returns its number."""
    body = {"title": title, "label_config": config_for(vocabulary)}
    what = f"a project {title!r}"
    made = connection.write("POST", "/api/projects/", json=body, what=what)
    return checked(shapes.Project, made, what)["id"]


def create_local_tasks(
    connection: Connection,
    project: int,
    images: Sequence[ImageRef],
    document_root: Path,
    on_progress: OnProgress = ignore_progress,
) -> TaskReport:
    """Tasks that refer to files below the document root; what storage sync made is not doubled.

    A lost answer is no risk: what the project has is read again before anything is repeated.

    Raises:
        LabelStudioError: a file lies outside the document root, or the server refuses.
    """
    root = document_root.resolve()
    relative = []
    for image in images:
        path = Path(image.place).resolve()
        if image.member is not None or not path.is_relative_to(root) or path.parent == root:
            raise LabelStudioError(
                f"{image.place} must lie in a folder below the document root {root}; move it "
                "there, or upload the images"
            )
        relative.append(path.relative_to(root).as_posix())
    data_for = data_for_photos(connection, project)
    present = _present(connection, project)
    missing = [name for name in dict.fromkeys(relative) if f"local file:{name}" not in present]
    before = len(missing)
    if missing and sync_finders(connection, project, root, missing):
        present = _present(connection, project)
        missing = [name for name in missing if f"local file:{name}" not in present]
    serve(connection, project, root, relative)

    data = [data_for(local_address(name, connection.sub_path)) for name in missing]
    for start in range(0, len(data), _CHUNK):
        _import(data[start : start + _CHUNK], connection, project, _keys)
        on_progress(min(start + _CHUNK, len(data)), len(data))
    return TaskReport(before, len(set(relative)) - before)


def _present(connection: Connection, project: int) -> set[str]:
    """What the project's tasks show, by `Address.key`."""
    tasks = connection.pages({"project": project, "include": "id,data"})
    return {key for task in tasks for key in _keys(task.get("data", {}))}


def _keys(data: Mapping[str, Any]) -> Iterator[str]:
    """The addresses in a task's data, whatever its fields are called, by `Address.key`."""
    for value in data.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield read_address(one).key


def upload_tasks(
    connection: Connection,
    project: int,
    images: Sequence[ImageRef],
    read: Callable[[ImageRef], bytes],
    on_progress: OnProgress = ignore_progress,
    on_missing: Callable[[ImageRef, str], None] | None = None,
) -> TaskReport:
    """Upload images and make tasks; one that was uploaded before is known by its content.

    Args:
        connection: the server.
        project: its number.
        images: what to upload.
        read: gives an image's file.
        on_progress: called after every image that was sent.
        on_missing: called with an image that is left out, and why it cannot be read; None ends the
            upload there.

    Raises:
        SourceError: an image cannot be read, and there is no `on_missing`.
        LabelStudioError: the server refuses.
    """
    data_for = data_for_photos(connection, project)
    uploaded = {
        str(task.get("data", {}).get("sha256"))
        for task in connection.pages({"project": project, "include": "id,data"})
    }
    created = there = 0
    for number, image in enumerate(images, 1):
        try:
            content = read(image)
            digest = hashlib.sha256(content).hexdigest()
            if digest in uploaded:
                there += 1
                continue
            file = _uploadable(image.file_name.rpartition("/")[2], content)
        except (OSError, ValueError) as error:
            if on_missing is None:
                raise SourceError(f"{image.file_name} cannot be uploaded: {error}") from error
            on_missing(image, str(error))
            continue
        # Nobody sees the file until a task names it, so a file that was sent twice does no harm.
        sent = connection.write(
            "POST",
            f"/api/projects/{project}/import",
            params={"commit_to_project": "false"},
            files={"file": file},
            what=image.file_name,
        )
        (ident, *_) = checked(shapes.Import, sent, image.file_name)["file_upload_ids"]
        path = connection.read(shapes.FileUpload, f"/api/import/file-upload/{ident}")["file"]
        address = path if path.startswith("/data/") else f"/data/{path}"
        data = data_for(connection.sub_path + address)
        data |= {"sha256": digest, "file_name": image.file_name}
        _import([data], connection, project, lambda task: [str(task.get("sha256"))])
        uploaded.add(digest)
        created += 1
        on_progress(number, len(images))
    return TaskReport(created, there)


def _uploadable(name: str, content: bytes) -> tuple[str, bytes]:
    """Name and content of a photo as the server takes it: of other kinds an upright PNG."""
    if is_kind(name, UPLOAD_KINDS):
        return name, content
    from detclipv2.inference.images import open_image

    png = BytesIO()
    open_image(content).save(png, "PNG")
    return f"{PurePosixPath(name).stem}.png", png.getvalue()


def _import(
    data: list[dict[str, Any]],
    connection: Connection,
    project: int,
    names: Callable[[Mapping[str, Any]], Iterable[str]],
) -> None:
    """Send tasks; after an answer that was lost, send those that reading back does not show."""
    import time

    left = data
    for attempt in range(4):
        try:
            connection.write(
                "POST", f"/api/projects/{project}/import", json=left, what=f"project {project}"
            )
            return
        except LabelStudioError as error:
            if not (error.lost or error.status == 429) or attempt == 3:
                raise
        time.sleep(1.0 * 2**attempt)  # the server may still be at it
        tasks = connection.pages({"project": project, "include": "id,data"})
        present = {name for task in tasks for name in names(task.get("data", {}))}
        left = [one for one in left if present.isdisjoint(names(one))]
        if not left:
            return
