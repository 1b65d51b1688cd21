"""A run's export as one file to download; no gradio here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.labelstudio.push import task_file
from app.progress import OnProgress
from app.runs.export import export
from app.runs.store import Run
from app.ui.shared.reading import Reader

FORMAT_NAMES = {
    "COCO": "coco",
    "YOLO": "yolo",
    "Pascal VOC": "voc",
    "CSV": "csv",
    "Label Studio tasks": task_file.FORMAT,
}


def make_file(
    run: Run,
    kind: str,
    downloads: Path,
    read: Reader,
    on_progress: OnProgress,
    on_missing: Callable[[str], None],
) -> Path:
    """Export a run; folders are packed into a zip archive.

    Args:
        run: where the boxes come from.
        kind: one of the values of `FORMAT_NAMES`.
        downloads: where a folder for the file is made.
        read: gives image files.
        on_progress: see `runs.export.export`, as for the next.
        on_missing: called with what could not be copied.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=downloads))
    if kind == task_file.FORMAT:
        return task_file.write_tasks(run, folder, on_progress=on_progress)
    made = export(run, kind, folder, read=read, on_progress=on_progress, on_missing=on_missing)
    return (
        Path(shutil.make_archive(str(folder / made.name), "zip", made)) if made.is_dir() else made
    )
