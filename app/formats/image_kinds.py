"""Which images browsers and servers take, by their endings."""

from __future__ import annotations

from detclipv2.datasets.image_kinds import IMAGE_KINDS

BROWSER_KINDS = frozenset(IMAGE_KINDS) - {".tif", ".tiff"}
"""What browsers show as it is."""
UPLOAD_KINDS = BROWSER_KINDS - {".avif"}
"""What Label Studio takes as an upload; it goes by the name."""
