"""A few images of a project opened, to find out whether they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.labelstudio.api.addresses import read_address
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project, no_images
from app.labelstudio.api.labeling_config import ImageTag
from app.progress import OnProgress, ignore_progress


@dataclass(frozen=True)
class Checked:
    """One task's image as it was found: address, what it means, and what came of opening it."""

    task: int
    url: str
    kind: str
    place: str
    status: str
    ok: bool


def check_images(
    connection: Connection,
    project: int,
    images: TaskImages,
    count: int = 5,
    on_progress: OnProgress = ignore_progress,
) -> list[Checked]:
    """Open the images of a few tasks, spread over the project, and say what came of each.

    Args:
        connection: the server.
        project: its number.
        images: opens them.
        count: how many.
        on_progress: called page by page while the tasks are read, then after every image.
    """
    from detclipv2.inference.images import open_image

    found: list[Checked] = []

    def on_missing(tasks: Sequence[int], tags: Sequence[ImageTag]) -> None:
        message = no_images(tasks, tags)
        found.append(Checked(tasks[0], "", "no image", "nowhere", message, False))

    refs = images_of_project(connection, project, on_missing=on_missing, on_progress=on_progress)
    chosen = refs[:: max(1, len(refs) // count)][:count]
    for done, ref in enumerate(chosen, 1):
        address = read_address(ref.place)
        assert ref.task is not None
        place = "nowhere"
        try:
            place = images.place(ref.place)
            picture = open_image(images.read(ref))
            status, ok = f"ok, {picture.width} x {picture.height} px", True
        except (OSError, ValueError) as error:
            status, ok = str(error), False
        found.append(Checked(ref.task, ref.place[:200], address.kind, place[:300], status, ok))
        on_progress(done, len(chosen))
    return found
