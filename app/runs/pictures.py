"""The drawn pictures of a run: one a photo, drawn again once its boxes are others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.formats.atomic import write_bytes
from app.formats.names import picture_names
from app.runs.records import ImageRef, ImageRow
from app.runs.reserved_space import ReservedSpace
from app.runs.sources import PHOTO_ERRORS
from app.runs.store import Run

if TYPE_CHECKING:
    from PIL import Image

_HEAD, _PHOTO, _BOX = 20_000, 400, 700
"""Bytes of the boxes' file, at most: its head, what it says of a photo, and of a box."""


class Pictures:
    """The pictures of a run in `folder`.

    Args:
        run: what was found.
        folder: where they lie; other runs may have left theirs.
        on_missing: called with the picture that could not be made, and why; the others are.
    """

    def __init__(self, run: Run, folder: Path, on_missing: Callable[[str], None]) -> None:
        rows = list(run.images())
        names = picture_names([row.file_name for row in rows])
        self._paths = {row.id: folder / name for row, name in zip(rows, names, strict=True)}
        self._run = run
        self._missed = on_missing
        self._failed: set[int] = set()
        self.reserved = ReservedSpace(folder.parent)
        names_size = sum(4 * len(row.file_name) for row in rows)
        self._size = _HEAD + 4 * len(run.settings.prompts) + names_size + _PHOTO * len(rows)

    def draw(self, row: ImageRow, image: Image.Image) -> None:
        """Draw the boxes of a photo that count; their own file keeps its room on the disk."""
        self._size += _BOX * len(self._run.boxes(row))
        with self._naming(row):
            self.reserved.keep(self._size)
            self._write(row, image)

    def complete(self, read: Callable[[ImageRef], bytes]) -> dict[str, Path]:
        """Draw what is missing or shows other boxes; returns all good pictures by their photo.

        A kill leaves boxes without their picture, another threshold pictures of earlier boxes.
        """
        from detclipv2.inference.images import open_image

        rows = list(self._run.images("done", "empty"))
        for row in rows:
            if row.id not in self._failed and not self._is_current(row):
                with self._naming(row):
                    self._write(row, open_image(read(row.ref)))
        return {row.file_name: self._paths[row.id] for row in rows if row.id not in self._failed}

    @contextmanager
    def _naming(self, row: ImageRow) -> Iterator[None]:
        """Name a picture that cannot be made, and go on."""
        try:
            yield
        except PHOTO_ERRORS as error:
            self._failed.add(row.id)
            self._missed(f"no picture of {row.file_name}: {error}")

    def _write(self, row: ImageRow, image: Image.Image) -> None:
        from app.formats import drawing as render

        stream = io.BytesIO()
        drawn = render.draw(image, self._run.detections(row))
        drawn.save(stream, "JPEG", quality=90, comment=self._mark(row))
        write_bytes(self._paths[row.id], stream.getvalue())

    def _is_current(self, row: ImageRow) -> bool:
        from detclipv2.inference.images import identify

        try:
            with identify(self._paths[row.id].read_bytes()) as picture:
                return picture.info.get("comment") == self._mark(row)
        except (OSError, ValueError):  # none, or half of one
            return False

    def _mark(self, row: ImageRow) -> bytes:
        """What a picture carries to say which boxes of which photo it shows."""
        shown = repr((row.place, row.member, self._run.boxes(row)))
        return hashlib.sha256(shown.encode()).hexdigest().encode()
