"""Pages of the library from its docstrings: `python -m tests.api_pages FOLDER`, or `make api`."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pdoc
import pdoc.render

import detclipv2


def modules() -> list[str]:
    """The package and every module in it; folders that only hold files are left out."""
    found = pkgutil.walk_packages(detclipv2.__path__, "detclipv2.")
    return ["detclipv2", *(module.name for module in found if not module.ispkg)]


def write(folder: Path, names: Sequence[str]) -> None:
    """Write an HTML page a module, and an index that searches."""
    for name in detclipv2.__all__:  # they are imported when asked for, which pdoc does not
        setattr(detclipv2, name, getattr(detclipv2, name))
    pdoc.render.configure(docformat="google", search=True)
    pdoc.pdoc(*names, output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]), modules())
