"""The three packages import in one direction, and the library stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import REPO
from tests.rooms import ROOMS, room_of

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


def rooms_of(package: str) -> dict[str, set[str]]:
    """Room → other rooms that its files import."""
    modules = _modules(package)
    rooms: dict[str, set[str]] = {room_of(package, file): set() for file in modules.values()}
    for module, imported in _graph(modules).items():
        room = room_of(package, modules[module])
        rooms[room] |= {room_of(package, modules[other]) for other in imported} - {room}
    return rooms


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


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_as_the_table_says(package: str) -> None:
    found = rooms_of(package)
    assert found.keys() == ROOMS[package].keys(), "every folder has a line in the table"
    for room, others in found.items():
        assert others <= ROOMS[package][room], f"{room} imports {others - ROOMS[package][room]}"


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_no_circles_of_files_or_rooms(package: str) -> None:
    assert _circle(_graph(_modules(package))) == []
    assert _circle(rooms_of(package)) == []
    assert _circle(ROOMS[package]) == [], "the table itself"


def test_the_papers_code_knows_nothing_beyond_the_paper() -> None:
    folders = ("detclipv2/nn", "detclipv2/learning", "detclipv2/geometry", "train/tasks")
    files = [file for folder in folders for file in _files(folder)]
    for file in [*files, *(REPO / "detclipv2" / name for name in ("model.py", "regions.py"))]:
        for name in _imports(ast.parse(file.read_text())):
            assert not name.startswith(("detclipv2.nano", "train.nano")), f"{file} imports {name}"


def test_circles_are_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_the_picture_of_the_layers_is_of_today() -> None:
    from tests.layers import current

    stored = (REPO / "docs/layers.svg").read_text()
    assert stored == current(), "python -m tests.layers > docs/layers.svg"
