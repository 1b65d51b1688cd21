"""Photos of a run with their boxes, one after the other, at any threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from app.formats import drawing as picture
from app.labelstudio.api.connection import Connection
from app.photo_cache import PREVIEW
from app.runs.records import ImageRef, ImageRow, RunError
from app.runs.sources import PHOTO_ERRORS
from app.runs.store import Run
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.run_folders import RunFolders
from detclipv2.inference.images import ImageError, open_image

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

HINT = "Choose a photo in the table to see its boxes at the threshold of the slider."
Reader = Callable[[str, Connection | None, gr.Request], Callable[[ImageRef], bytes]]


class ReviewOutputs(NamedTuple):
    """The photo that is looked at.

    Attributes:
        photo: its name.
        picture: it, with its boxes.
        status: what stands above it.
    """

    photo: Any = SKIP
    picture: Any = SKIP
    status: Any = SKIP


@dataclass(frozen=True)
class Review:
    """The handlers.

    Args:
        runs: where runs live.
        reader: reads images for a visitor, with the hosts and the connection they gave.
    """

    runs: RunFolders
    reader: Reader

    def choose(
        self,
        run: str | None,
        threshold: float,
        hosts: str,
        connection: Connection | None,
        event: gr.SelectData,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Show the photo whose row was clicked."""
        name = str(event.row_value[0])
        return self.show(run, name, threshold, hosts, connection, visitor)

    def show(
        self,
        run: str | None,
        photo: str | None,
        threshold: float,
        hosts: str,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """Show a photo again, e.g. at another threshold; nothing where none is chosen."""
        if not photo:
            return ReviewOutputs(status=render.status("idle", HINT))

        def find(opened: Run) -> ReviewOutputs:
            row = opened.image(photo)
            if row is None:  # of another run
                return _nothing("idle", HINT)
            return self._shown(opened, row, threshold, self.reader(hosts, connection, visitor))

        return self._of_run(run, visitor, find)

    def on(
        self,
        run: str | None,
        photo: str | None,
        threshold: float,
        hosts: str,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """The next photo that was looked at; the first where none is chosen."""
        return self._turn(True, run, photo, threshold, hosts, connection, visitor)

    def back(
        self,
        run: str | None,
        photo: str | None,
        threshold: float,
        hosts: str,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        """The one before."""
        return self._turn(False, run, photo, threshold, hosts, connection, visitor)

    def _turn(
        self,
        after: bool,
        run: str | None,
        photo: str | None,
        threshold: float,
        hosts: str,
        connection: Connection | None,
        visitor: gr.Request,
    ) -> ReviewOutputs:
        def find(opened: Run) -> ReviewOutputs:
            row = opened.image(photo) if photo else None
            if row is None:
                beside = next(opened.images("done", "empty"), None)
            else:
                beside = opened.beside(row, after=after)
            if beside is None:
                return ReviewOutputs()
            return self._shown(opened, beside, threshold, self.reader(hosts, connection, visitor))

        return self._of_run(run, visitor, find)

    def _of_run(
        self, run: str | None, visitor: gr.Request, find: Callable[[Run], ReviewOutputs]
    ) -> ReviewOutputs:
        """What `find` gives for a run, or why it cannot be read, without a photo."""
        try:
            return find(self.runs.open(run, visitor))
        except RunError as error:
            return _nothing("error", str(error))

    def _shown(
        self, run: Run, row: ImageRow, threshold: float, read: Callable[[ImageRef], bytes]
    ) -> ReviewOutputs:
        name = row.file_name
        if row.state in ("pending", "failed"):
            why = row.reason or "not looked at yet"
            return _nothing("error", f"{name}: {why}", name)
        view = replace(run.view, threshold=max(threshold, run.settings.lowest))
        found = run.detections(row, view)
        try:
            drawn = small(open_image(read(row.ref), name=name), found)
        except ImageError as error:
            return _nothing("error", str(error), name)
        except PHOTO_ERRORS as error:
            return _nothing("error", f"{name}: {error}", name)
        boxes = "1 box" if len(found) == 1 else f"{len(found)} boxes"
        words = f"{name}: {boxes} at {view.threshold:g}"
        return ReviewOutputs(name, gr.Image(drawn, visible=True), render.status("ok", words))


def _nothing(kind: render.Kind, words: str, photo: str | None = None) -> ReviewOutputs:
    return ReviewOutputs(photo, gr.Image(visible=False), render.status(kind, words))


def small(image: Image.Image, found: sv.Detections) -> Image.Image:
    """The picture as large as a page needs it, with its boxes drawn."""
    width = image.width
    image.thumbnail((PREVIEW, PREVIEW))
    scaled = replace(found, xyxy=found.xyxy * (image.width / width))
    return picture.draw(image, scaled, picture.PAGE_LABELS)
