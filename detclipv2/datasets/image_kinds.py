"""Which files are images, by their endings; the one list for the app and for training."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath

IMAGE_KINDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
"""What counts as an image when a folder is searched, the usual ones first; a file named directly is
always tried."""


def is_kind(name: str | PurePath, kinds: Collection[str] = IMAGE_KINDS) -> bool:
    """Whether a file's name ends like one of `kinds`, in any case."""
    return PurePath(name).suffix.lower() in kinds
