"""Files that are written whole or not at all, so that a reader never meets half of one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write `content` to `path` atomically: the old file or the whole new one, nothing between.

    The temporary file lies beside the target, because a rename is atomic only inside one volume.
    What is `private` only its owner may read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        if not private:  # as mkstemp makes it; results get the mode that open() would give
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict[str, Any], *, private: bool = False) -> None:
    """Write `value` as UTF-8 JSON, atomically; class names stay readable in any script."""
    content = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8")
    write_bytes(path, content, private=private)
