"""Photos an engine knows: by their content, with what the image tower has said of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from app.lru import Recent
from detclipv2.inference.images import ImageError, open_image

if TYPE_CHECKING:
    from detclipv2.inference.encoded_image import EncodedImage
    from detclipv2.inference.predictor import Predictor

PREVIEW = 1280
"""Long side in pixels of the picture the page shows; drawing it stays quick for any photo."""
Progress = Callable[..., object]
"""Called with a share of 0…1 and `desc`, what happens next; gr.Progress is one."""
_FIRST_LOOK = 0


def open_photo(source: str | Path) -> Image.Image:
    """The photo, upright, in full size; an ImageError names the file without its folders."""
    try:
        return open_image(source)
    except ImageError as error:
        name = Path(source).name
        raise ImageError(str(error).replace(str(source), name)) from error


@dataclass(frozen=True)
class KnownPhoto:
    """A photo that was opened.

    Attributes:
        key: hex digits of its content.
        preview: a copy of at most `PREVIEW` px.
        size: the original's (width, height).
        encoded: what the image tower said, by tiles.
    """

    key: str
    preview: Image.Image
    size: tuple[int, int]
    encoded: dict[int, EncodedImage] = field(default_factory=dict)


class KnownPhotos:
    """The photos asked for last. Not thread-safe."""

    def __init__(self, predictor: Predictor, size: int | None, capacity: int) -> None:
        """Know none yet.

        Args:
            predictor: looks at them.
            size: for `Predictor.encode_image`.
            capacity: how many are kept.
        """
        self._predictor = predictor
        self._size = size
        self._photos: Recent[str, KnownPhoto] = Recent(capacity)

    def get(self, source: str | Path) -> KnownPhoto:
        """What is known of a photo; opens it when it is new."""
        try:
            content = Path(source).read_bytes()
        except OSError:
            open_photo(source)  # says what is wrong in the words of every other picture
            raise
        key = hashlib.sha256(content).hexdigest()[:16]
        photo = self._photos.get(key)
        if photo is None:
            image = open_photo(source)
            size = image.size
            image.thumbnail((PREVIEW, PREVIEW))
            photo = KnownPhoto(key, image, size)
            self._photos.put(key, photo)
        return photo

    def look(
        self, source: str | Path, tell: Progress, tiles: int
    ) -> tuple[KnownPhoto, EncodedImage]:
        """A photo and what `Predictor.encode_image` gives of it, with so many tiles."""
        tell(0.1, desc="Reading the photo")
        photo = self.get(source)
        if tiles not in photo.encoded:
            tell(0.3, desc="Looking at the photo" if tiles == 1 else "Looking closely")
            photo.encoded[tiles] = self._predictor.encode_image(source, self._size, tiles)
        return photo, photo.encoded[tiles]

    def first_look(self, source: str | Path, tell: Progress) -> tuple[KnownPhoto, EncodedImage]:
        """A photo and an encoding of it, without closer looks unless there has been one."""
        tell(0.1, desc="Reading the photo")
        photo = self.get(source)
        if not photo.encoded:
            tell(0.3, desc="Looking at the photo")
            photo.encoded[_FIRST_LOOK] = self._predictor.first_look(source, self._size)
        return photo, next(iter(photo.encoded.values()))
