"""What a labeling configuration's `$paths` stand for in a task's data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$[\w\[\].{}]+")


def resolved(template: str, data: Mapping[str, Any]) -> Any:
    """What stands for a template in a task's data."""
    if _VARIABLE.fullmatch(template):
        return _at(data, template[1:])
    return _VARIABLE.sub(lambda found: _text(_at(data, found[0][1:])), template)


def _at(data: Any, path: str) -> Any:
    """The value at a path like `image`, `page.url` or `pages[0].url`; None where there is none."""
    if isinstance(data, Mapping) and path in data:
        return data[path]
    for part in re.findall(r"\w+", path):
        if isinstance(data, list) and part.isascii() and part.isdecimal():
            data = data[int(part)] if int(part) < len(data) else None
        elif isinstance(data, Mapping):
            data = data.get(part)
        else:
            return None
    return data


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
