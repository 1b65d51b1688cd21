"""A run as a file that Label Studio imports: tasks with predictions."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from app.formats.atomic import write_bytes
from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.environment import document_root
from app.labelstudio.api.payload import DEFAULT_TARGET, prediction, regions_of
from app.progress import OnProgress, ignore_progress
from app.runs.export import counted
from app.runs.records import ImageRow
from app.runs.sources import is_address
from app.runs.store import Run

FORMAT = "labelstudio"
"""What the command line calls it, beside `runs.export.FORMATS`."""


def write_tasks(
    run: Run, folder: Path, image_root: str = "", on_progress: OnProgress = ignore_progress
) -> Path:
    """Write tasks with predictions for `payload.DEFAULT_TARGET`; returns the file.

    An image of a task or an address keeps its own. A file's address is `image_root` and its name;
    without one, what local-files storage makes of its place below the environment's document root,
    if it lies there, else of its name.
    """
    root = document_root()
    view, version = run.view, run.model_version
    places = {name: (DEFAULT_TARGET, name) for name in view.vocabulary.names}
    tasks = []
    for image in counted(list(run.images("done", "empty")), on_progress):
        made = prediction(regions_of(run.boxes(image, view), image.size, places), version)
        address = _address(image, image_root, None if root is None else root.resolve())
        data = {DEFAULT_TARGET.to_name: address, "file_name": image.file_name}
        tasks.append({"data": data, "predictions": [made]})
    path = folder / "labelstudio.json"
    write_bytes(path, json.dumps(tasks, ensure_ascii=False, indent=1).encode("utf-8"))
    return path


def _address(image: ImageRow, image_root: str, root: Path | None) -> str:
    if image.task is not None or is_address(image.place):
        return image.place
    if image_root:
        return image_root + quote(image.file_name)
    place = Path(image.place)
    if root is not None and image.member is None and place.is_relative_to(root):
        return local_address(place.relative_to(root).as_posix())
    return local_address(image.file_name)
