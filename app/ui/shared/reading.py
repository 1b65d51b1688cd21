"""How the page reads the photos of runs, for the visitor who asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_reader import TaskImages
from app.runs import sources
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.ui.shared.access import AccessError

Reader = Callable[[ImageRef], bytes]


def reader_of(hosts: sources.Hosts, server: Callable[[], Connection]) -> Reader:
    """Reads images from disk, from these hosts, and of tasks from `server`'s Label Studio."""

    @cache
    def tasks() -> TaskImages:
        return TaskImages(server(), hosts=hosts)

    def read(image: ImageRef) -> bytes:
        try:
            return sources.read(image, hosts) if image.task is None else tasks().read(image)
        except (AccessError, LabelStudioError) as error:
            raise SourceError(str(error)) from error

    return read
