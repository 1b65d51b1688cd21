"""JSON files that a kill leaves whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(file: Path, value: Any) -> None:
    """Write a value, null in the place of what JSON lacks (NaN, infinities), or leave `file`."""
    valid = json.loads(json.dumps(value), parse_constant=lambda _: None)
    begun = file.with_name(f"{file.name}.partial")
    begun.write_text(json.dumps(valid, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(begun, file)
