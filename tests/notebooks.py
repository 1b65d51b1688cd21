"""Running notebooks, and comparing what they print with what is stored in them.

With `RECORD_NOTEBOOKS=1` the tests store the outputs instead of comparing them.
"""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.places import REPO

RECORD = bool(os.environ.get("RECORD_NOTEBOOKS"))
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_TOLERANCE = 0.03
"""Of numbers, relative and absolute: other machines round otherwise."""


def check(path: Path) -> None:
    """Run a notebook from top to bottom; its outputs are those that are stored.

    Raises:
        AssertionError: a cell printed something else, or shows no picture any more.
    """
    stored = nbformat.read(path, as_version=4)
    ran = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(REPO)}}
    # A cell that fails raises; each notebook asserts what it says.
    NotebookClient(ran, timeout=240, kernel_name="python3", resources=where).execute()
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output))]
            cell.execution_count = None
            cell.metadata = {}
    if RECORD:
        ran.metadata.pop("language_info", None)
        nbformat.write(ran, path)
        return
    for old, new in zip(stored.cells, ran.cells, strict=True):
        if old.cell_type == "code":
            assert _pictures(old) == _pictures(new), old.source
            compare(_text(old), _text(new))


def compare(stored: str, printed: str) -> None:
    """The same words, and about the same numbers.

    Raises:
        AssertionError: they differ.
    """
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", stored).split()
    for wanted, found in zip(_NUMBER.findall(stored), _NUMBER.findall(printed), strict=True):
        close = pytest.approx(float(wanted), rel=_TOLERANCE, abs=_TOLERANCE)
        assert float(found) == close, f"{printed!r} is not {stored!r}"


def _kept(output: Any) -> Any:
    """An output as it is stored: no progress bars, pictures as JPEG."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if output.output_type == "execute_result":
        output.execution_count = None
    picture = output.data.pop("image/png", None)
    if picture:
        small = io.BytesIO()
        Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").save(
            small, "JPEG", quality=80
        )
        output.data["image/jpeg"] = base64.b64encode(small.getvalue()).decode()
        output.data["text/plain"] = "a picture"
    return output


def _pictures(cell: Any) -> int:
    return sum("image/jpeg" in output.get("data", {}) for output in cell.outputs)


def _text(cell: Any) -> str:
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "\n".join(texts)
