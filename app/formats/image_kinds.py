"""Which files are images, by their endings."""

from __future__ import annotations

from pathlib import PurePath

IMAGE_KINDS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}
)
"""What counts as an image when a folder is searched; a file named directly is always tried."""
BROWSER_KINDS = IMAGE_KINDS - {".tif", ".tiff"}
"""What browsers show as it is."""
UPLOAD_KINDS = BROWSER_KINDS - {".avif"}
"""What Label Studio takes as an upload; it goes by the name."""


def is_kind(name: str | PurePath, kinds: frozenset[str]) -> bool:
    """Whether a file's name ends like one of `kinds`, in any case."""
    return PurePath(name).suffix.lower() in kinds
