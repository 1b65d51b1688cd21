"""Pictures come in through one door, which knows which formats are safe to open."""

from __future__ import annotations

import ast

from tests.places import REPO

DOOR = "detclipv2/inference/images.py"
OWN = {"app/ui/detect/tab.py": 1}
"""Files that open pictures of this package itself, and how often."""


def test_pillow_opens_nothing_elsewhere() -> None:
    found: dict[str, int] = {}
    for package in ("app", "detclipv2", "train"):
        for file in sorted((REPO / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr == "open":
                    owner = ast.unparse(node.value)
                    if owner.endswith("Image"):
                        name = file.relative_to(REPO).as_posix()
                        found[name] = found.get(name, 0) + 1
                imported = isinstance(node, ast.ImportFrom) and node.module == "PIL.Image"
                assert not imported, f"{file}: import Image from PIL, so that this test sees it"
    assert found.pop(DOOR) == 1
    assert found == OWN, "open pictures with detclipv2.inference.images: open_image or identify"
