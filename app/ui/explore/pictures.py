"""Small copies of a run's photos and of parts of them, as data addresses; no gradio here."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass, field

from app.box import Corners
from app.formats.drawing import encode
from app.lru import LRUCache
from app.runs.records import ImageRow
from app.runs.sources import PHOTO_ERRORS
from app.ui.shared.reading import Reader
from detclipv2.inference.images import open_image

THUMB, VIEW = 260, 1000
"""Long sides in pixels: of a photo in a gallery, and of the one that is worked on."""
_MARGIN = 0.35
"""Of a box's longer side, shown round it."""
_BYTES = 64 << 20

_Key = tuple[str, str | None, str | None, Corners | None, int]


@dataclass(frozen=True)
class Picture:
    """A copy.

    Attributes:
        address: a data address; empty where the photo cannot be read.
        frame: what it shows, xyxy in pixels of the upright original.
    """

    address: str
    frame: Corners


@dataclass(frozen=True)
class Pictures:
    """Copies that were made lately are kept. Thread-safe."""

    _kept: LRUCache[_Key, str] = field(
        default_factory=lambda: LRUCache(10_000, weight=len, most=_BYTES)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def photo(self, row: ImageRow, read: Reader, side: int = THUMB) -> Picture:
        """The whole photo."""
        width, height = row.size
        return Picture(self._address(row, read, None, side), (0.0, 0.0, width, height))

    def part(self, row: ImageRow, read: Reader, xyxy: Corners) -> Picture:
        """A box with what is round it."""
        width, height = row.size
        x1, y1, x2, y2 = xyxy
        margin = _MARGIN * max(x2 - x1, y2 - y1)
        left, top = max(0, round(x1 - margin)), max(0, round(y1 - margin))
        right, bottom = min(width, round(x2 + margin)), min(height, round(y2 + margin))
        frame = (left, top, max(right, left + 1), max(bottom, top + 1))
        return Picture(self._address(row, read, frame, THUMB), frame)

    def _address(self, row: ImageRow, read: Reader, frame: Corners | None, side: int) -> str:
        key = row.place, row.member, row.sha256, frame, side
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found
        try:
            image = open_image(read(row.ref))
            if frame is not None:
                left, top, right, bottom = frame
                image = image.crop((int(left), int(top), int(right), int(bottom)))
            image.thumbnail((side, side))
        except PHOTO_ERRORS:
            return ""
        content = base64.b64encode(encode(image, "JPEG")).decode()
        address = f"data:image/jpeg;base64,{content}"
        with self._lock:
            self._kept.put(key, address)
        return address
