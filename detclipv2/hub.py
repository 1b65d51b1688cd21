"""Model hubs: nothing is asked of them unless the user says so."""

from __future__ import annotations

import os
from pathlib import Path

DOWNLOAD_VARIABLE = "DETCLIPV2_DOWNLOAD"


def may_download() -> bool:
    """Whether `$DETCLIPV2_DOWNLOAD` allows to fetch what a checkpoint names; no by default.

    A checkpoint comes from anywhere and must not decide which addresses this machine asks.
    """
    return os.environ.get(DOWNLOAD_VARIABLE, "").lower() in ("1", "true", "yes")


def files_of(source: str) -> str:
    """The folder of a model: `source` itself, or where the local hub cache has the hub id.

    Where `may_download`, a hub id stays as it is, for the library that fetches it.

    Raises:
        OSError: a hub id whose files are not here.
    """
    if may_download() or os.path.isdir(source):
        return source
    from huggingface_hub import try_to_load_from_cache  # `local_files_only` asks the hub, too
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(source, "config.json")
    except HFValidationError:
        found = None
    if not isinstance(found, str):
        raise OSError(
            f"{source!r} is no folder and not in this machine's hub cache; fetch it with "
            f"`hf download {source}`, or set {DOWNLOAD_VARIABLE}=1"
        )
    return str(Path(found).parent)
