"""The three packages import in one direction, and the library stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import REPO

HEAVY = {"gradio", "spacy", "transformers", "cv2", "supervision"}
FORBIDDEN = {"detclipv2": {"app", "train", "gradio"}, "train": {"app", "gradio"}, "app": {"train"}}


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def _files(package: str) -> list[Path]:
    files = sorted((REPO / package).rglob("*.py"))
    assert files, f"no files in {package}"
    return files


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_packages_point_one_way(package: str) -> None:
    for file in _files(package):
        tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
        assert not tops & FORBIDDEN[package], f"{file} imports {tops & FORBIDDEN[package]}"


def test_only_the_ui_imports_gradio() -> None:
    for file in _files("app"):
        if "ui" not in file.relative_to(REPO / "app").parts and file.name != "__main__.py":
            tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
            assert "gradio" not in tops, f"{file} imports gradio"


def test_the_network_sees_no_loss_and_the_losses_no_file() -> None:
    for file in [*_files("detclipv2/nn"), REPO / "detclipv2/model.py"]:
        assert not any("learning" in name for name in _imports(ast.parse(file.read_text())))
    for file in _files("detclipv2/learning"):
        tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
        assert tops <= {"torch", "detclipv2", "typing", "collections", "__future__", "dataclasses"}


def test_heavy_packages_wait_until_they_are_needed() -> None:
    code = (
        "import sys, detclipv2, detclipv2.model, detclipv2.inference.predictor\n"
        f"print(sorted({sorted(HEAVY)!r} & sys.modules.keys()))"
    )
    code = code.replace(repr(sorted(HEAVY)), repr(HEAVY))
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO
    )
    assert found.stdout.strip() == "[]"


def test_label_studio_needs_neither_the_page_nor_the_network() -> None:
    for file in _files("app/labelstudio"):
        tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
        assert not tops & {"gradio", "torch"}, f"{file} imports {tops & {'gradio', 'torch'}}"
    modules = ", ".join(
        f"app.labelstudio.{file.stem}"
        for file in _files("app/labelstudio")
        if file.stem != "__init__"
    )
    code = f"import sys, {modules}\nprint({{'gradio', 'torch'}} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO
    )
    assert found.stdout.strip() == "set()"
