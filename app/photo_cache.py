"""The photos of an engine, by their content, with what the image tower gave for them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from app.look_times import LookTimes
from app.lru import LRUCache
from detclipv2.inference.images import open_image
from detclipv2.serving import DetectSettings, Looks

if TYPE_CHECKING:
    from detclipv2.inference.encoded_image import EncodedImage
    from detclipv2.inference.predictor import Predictor

PREVIEW = 1280
"""Long side in pixels of the picture the page shows; drawing it stays quick for any photo."""
ReportProgress = Callable[..., object]
"""Called with a share of 0…1 and `desc`, what happens next; gr.Progress is one."""
_FIRST_LOOK = 0
"""In place of the tiles: an encoding without closer looks."""
_FILES_PER_PHOTO = 4
_Encoding = tuple[int | None, int, Looks]
"""See `DetectSettings.encoding`."""
_FileState = tuple[str, int, int, int, int]
"""Path, inode, times of change of content and of inode, size: another one is read again."""


@dataclass(frozen=True)
class CachedPhoto:
    """A photo that was opened.

    Attributes:
        key: hex digits of its content.
        preview: a copy of at most `PREVIEW` px.
        size: the original's (width, height).
        encoded: what the image tower gave, by what it was asked for.
    """

    key: str
    preview: Image.Image
    size: tuple[int, int]
    encoded: dict[_Encoding, EncodedImage] = field(default_factory=dict)


class PhotoCache:
    """The photos asked for last. Not thread-safe.

    A file is read, hashed and decoded once, until it changes; in full size only the last photo is
    kept.

    Args:
        predictor: encodes them.
        capacity: how many are kept.

    Attributes:
        times: how long the image tower took.
    """

    def __init__(self, predictor: Predictor, capacity: int) -> None:
        self.times = LookTimes()
        self._predictor = predictor
        self._keys: LRUCache[_FileState, str] = LRUCache(capacity * _FILES_PER_PHOTO)
        self._photos: LRUCache[str, CachedPhoto] = LRUCache(capacity)
        self._decoded: tuple[str, Image.Image] | None = None

    def get(self, source: str | Path) -> CachedPhoto:
        """The photo in a file; opened when it is new.

        Raises:
            ImageError: it cannot be read.
        """
        path = Path(source)
        try:
            state = _state_of(path)
            key = self._keys.get(state)
            photo = None if key is None else self._photos.get(key)
            if photo is not None:
                return photo
            content = path.read_bytes()
        except (OSError, ValueError):
            open_image(path, name=path.name)  # says what is wrong as of every other picture
            raise
        photo = self._open(content, path.name)
        self._keys.put(state, photo.key)
        return photo

    def encode(
        self, source: str | Path, report: ReportProgress, settings: DetectSettings
    ) -> tuple[CachedPhoto, EncodedImage]:
        """A photo and what `Predictor.encode_image` gives of it with these settings."""
        report(0.1, desc="Reading the photo")
        photo, encoding = self.get(source), settings.encoding
        if encoding not in photo.encoded:
            report(0.3, desc="Looking at the photo" if settings.tiles == 1 else "Looking closely")
            photo.encoded[encoding] = self.encode_image(self._in_full(photo, source), settings)
        return photo, photo.encoded[encoding]

    def encode_image(self, image: Image.Image, settings: DetectSettings) -> EncodedImage:
        """What `Predictor.encode_image` gives of a picture that is not kept; its time is."""
        start = time.perf_counter()
        encoded = self._predictor.encode_image(image, *settings.encoding)
        self.times.add(settings, time.perf_counter() - start)
        return encoded

    def encode_whole(
        self, source: str | Path, report: ReportProgress, settings: DetectSettings
    ) -> tuple[CachedPhoto, EncodedImage]:
        """A photo and an encoding of it, without closer looks unless there has been one."""
        report(0.1, desc="Reading the photo")
        photo, (size, _, looks) = self.get(source), settings.encoding
        for (other_size, _, other_looks), encoded in photo.encoded.items():
            if (other_size, other_looks) == (size, looks):
                return photo, encoded
        report(0.3, desc="Looking at the photo")
        image = self._in_full(photo, source)
        encoded = self._predictor.first_look(image, size, looks)
        photo.encoded[size, _FIRST_LOOK, looks] = encoded
        return photo, encoded

    def _open(self, content: bytes, name: str) -> CachedPhoto:
        key = hashlib.sha256(content).hexdigest()[:16]
        photo = self._photos.get(key)
        if photo is None:
            image = open_image(content, name=name)
            self._decoded = key, image
            preview = image.copy()
            preview.thumbnail((PREVIEW, PREVIEW))
            photo = CachedPhoto(key, preview, image.size)
            self._photos.put(key, photo)
        return photo

    def _in_full(self, photo: CachedPhoto, source: str | Path) -> Image.Image:
        if self._decoded is None or self._decoded[0] != photo.key:
            self._decoded = photo.key, open_image(source, name=Path(source).name)
        return self._decoded[1]


def _state_of(path: Path) -> _FileState:
    stat = path.stat()
    return str(path), stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
