"""The photos that the Batch tab's form names; no gradio here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.labelstudio.api.connection import Connection
from app.labelstudio.api.images import images_of_project
from app.progress import OnProgress, ignore_progress
from app.runs import sources
from app.runs.records import ImageRef, RunError
from app.ui.shared.permissions import Permissions
from app.ui.shared.projects import Project, number
from app.ui.shared.run_folders import keep_uploads
from detclipv2.serving import Looks


@dataclass(frozen=True)
class BatchForm:
    """What the form says.

    Attributes:
        files: uploads.
        places: folders, patterns, archives, videos, addresses or lists of them, one a line.
        every: seconds between the frames of a video; None for every frame.
        project: of Label Studio; it goes before all others.
        unlabelled: only its tasks without labels.
        hosts: that addresses may name.
        prompts: the words.
        tiles: see `DetectSettings`, as is `looks`.
    """

    files: list[str] | None
    places: str
    every: float | None
    project: Project
    unlabelled: bool
    hosts: str
    prompts: str
    tiles: int
    looks: Looks

    @property
    def source(self) -> str:
        """Where the photos come from, for people."""
        if self.project:
            return f"project {number(self.project)}"
        return self.places.strip() or "uploads"


def images_of(
    form: BatchForm,
    may: Permissions,
    server: Callable[[], Connection],
    keep: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> list[ImageRef]:
    """What the form names.

    Args:
        form: the form.
        may: what whoever filled it in may name.
        server: gives the Label Studio of a project.
        keep: where uploads are copied to; None leaves them where they are.
        on_progress: see `images_of_project`.

    Raises:
        ValueError: nothing is named, it cannot be found, or it may not be named.
        LabelStudioError: the server cannot be asked.
    """
    if form.project:
        return images_of_project(
            server(), number(form.project), only_unlabelled=form.unlabelled, on_progress=on_progress
        )
    places = [line.strip() for line in form.places.splitlines() if line.strip()]
    may.paths(places)
    paths = form.files or []
    if form.files and keep is not None:
        paths = keep_uploads(form.files, keep)
    if not paths and not places:
        raise RunError("no photos yet: upload some, name a folder, or a Label Studio project")
    named = [os.path.expanduser(place) for place in places]
    find = partial(sources.find_images, every=0 if form.every is None else form.every)
    if named:
        may.images(find(named))
    return find([*paths, *named])
