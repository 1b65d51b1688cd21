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

_DATA = {"base", "formats"}
_LABEL_STUDIO = {"labelstudio/api", "labelstudio/learn", "labelstudio/push", "labelstudio/backend"}
_PAGE = {*_DATA, "runs", "ui/shared"}
APP_ROOMS: dict[str, set[str]] = {
    "base": set(),
    "formats": {"base"},
    "runs": _DATA,
    "browse": _DATA,
    "labelstudio": set(),
    "labelstudio/api": {*_DATA, "runs"},
    "labelstudio/learn": {*_DATA, "runs", "labelstudio/api"},
    "labelstudio/push": {*_DATA, "runs", "labelstudio/api", "labelstudio/learn"},
    "labelstudio/backend": {*_DATA, "runs", "labelstudio/api", "labelstudio/learn"},
    "commands": {*_DATA, "runs", *_LABEL_STUDIO},
    "ui/shared": {*_DATA, "runs", "browse", "labelstudio/api"},
    "ui/detect": _PAGE,
    "ui/align": _PAGE,
    "ui/browse": {*_PAGE, "browse", "ui/align"},
    "ui/compare": _PAGE,
    "ui/batch": {*_PAGE, *_LABEL_STUDIO},
    "ui/labelstudio": {*_PAGE, *_LABEL_STUDIO},
    "ui/calibrate": {*_PAGE, *_LABEL_STUDIO},
    "ui/train": _PAGE,
    "ui": {"base", "ui/shared"},
    "entry": {"base", "commands", "labelstudio/api", "ui", "ui/detect", "ui/shared"},
}
"""Each folder of `app`, and the folders that it may import; "base" is `app` itself without the
commands that start it, which are "entry"."""
APP_ROOMS["ui"] |= {room for room in APP_ROOMS if room.startswith("ui/")}
_ENTRY = {"__main__.py", "cli.py"}


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


def _modules(package: str) -> dict[str, Path]:
    """Module → file."""
    return {
        ".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): file
        for file in _files(package)
    }


def _graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Module → modules it imports: anywhere in it, also in functions and under TYPE_CHECKING."""
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level and node.module, f"{file} imports relatively"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    names.add(full if full in modules else node.module)
        graph[module] = names & modules.keys() - {module}
    return graph


def _room(file: Path) -> str:
    folder = file.relative_to(REPO / "app").parent.as_posix()
    if folder == ".":
        return "entry" if file.name in _ENTRY else "base"
    return folder


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """A path that leads back to where it began; empty where there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph[node]):
            if found := walk(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_packages_point_one_way(package: str) -> None:
    for file in _files(package):
        tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
        assert not tops & FORBIDDEN[package], f"{file} imports {tops & FORBIDDEN[package]}"


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


def test_only_the_ui_imports_gradio_and_no_network_runs_for_label_studio() -> None:
    for file in _files("app"):
        parts = file.relative_to(REPO / "app").parts
        tops = {name.split(".")[0] for name in _imports(ast.parse(file.read_text()))}
        if parts[0] != "ui":
            assert "gradio" not in tops, f"{file} imports gradio"
        if parts[0] == "labelstudio":
            assert "torch" not in tops, f"{file} imports torch"
    modules = ", ".join(name for name in _modules("app") if name.startswith("app.labelstudio"))
    code = f"import sys, {modules}\nprint({{'gradio', 'torch'}} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO
    )
    assert found.stdout.strip() == "set()"


def test_rooms_import_as_the_table_says() -> None:
    modules = _modules("app")
    rooms = {_room(file) for file in modules.values()}
    assert rooms == APP_ROOMS.keys(), "every folder has a line in the table"
    for module, imported in _graph(modules).items():
        room = _room(modules[module])
        for other in imported:
            allowed = _room(modules[other]) in {room, *APP_ROOMS[room]}
            assert allowed, f"{module} imports {other}, of {_room(modules[other])}"


@pytest.mark.parametrize("package", ["app"])
def test_no_circles_of_files(package: str) -> None:
    assert _circle(_graph(_modules(package))) == []


def test_no_circles_of_rooms() -> None:
    modules = _modules("app")
    rooms: dict[str, set[str]] = {_room(file): set() for file in modules.values()}
    for module, imported in _graph(modules).items():
        room = _room(modules[module])
        rooms[room] |= {_room(modules[other]) for other in imported} - {room}
    assert _circle(rooms) == []


def test_circles_are_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
