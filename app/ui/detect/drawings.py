"""The drawn pictures of the Detect tab, as files that gradio serves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.engine_types import Result
from app.formats.atomic import write_bytes
from app.formats.drawing import PAGE_LABELS, draw, encode
from detclipv2.inference.images import open_image

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Drawings:
    """Files named by their content.

    Args:
        folder: where they are; inside gradio's cache, which it empties.
    """

    folder: Path

    def made(self, file: str) -> bool:
        """Whether a file is one of these."""
        return self.folder in Path(file).parents

    def plain(self, preview: Image.Image) -> str:
        """A photo without boxes, for browsers that do not show the original."""
        return self._file(encode(preview, "JPEG"), "photo.jpg")

    def boxes(self, preview: Image.Image, result: Result) -> str:
        """A preview with the boxes, the best of them with their words."""
        drawn = draw(preview, result.scaled_to(preview.size), PAGE_LABELS)
        return self._file(encode(drawn, "JPEG"), "boxes.jpg")

    def in_full(self, source: str, result: Result) -> str:
        """The photo in full size with the boxes, as PNG."""
        path = Path(source)
        drawn = draw(open_image(source, name=path.name), result.detections)
        return self._file(encode(drawn, "PNG"), f"{path.stem}.boxes.png")

    def _file(self, content: bytes, name: str) -> str:
        path = self.folder / hashlib.sha256(content).hexdigest()[:16] / name
        if not path.exists():
            write_bytes(path, content)
        return str(path)
