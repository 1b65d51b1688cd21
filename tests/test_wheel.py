"""A wheel, installed alone: its packages, files, script and metadata are enough."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.places import DEMO, REPO, free_port


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with our wheel, and our dependencies as they are here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files behind
    for package in ("app", "detclipv2", "train"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, source],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    install = ["--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run([*pip, *install], check=True, env=environment(), cwd=folder)
    (own,) = (folder / "env").glob("lib/python*/site-packages")
    # The dependencies of this environment, but not this checkout, which none of them names.
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin"


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def test_it_detects_in_a_photo_and_says_what_it_is(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            installed / "detclipv2",
            "detect",
            DEMO / "chelsea.jpg",
            "--prompts",
            "cat",
            "--size",
            "224",
            "--out",
            tmp_path / "found",
        ],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found" / "detections.json").is_file()
    code = (
        "import importlib.metadata as m, detclipv2, sys\n"
        "assert detclipv2.__file__.startswith(sys.prefix), detclipv2.__file__\n"
        "assert m.version('detclipv2') == detclipv2.__version__\n"
        "files = [str(f) for f in m.files('detclipv2')]\n"
        "assert any(f.endswith('LICENSE-weights.txt') for f in files), files\n"
    )
    subprocess.run([installed / "python", "-c", code], env=environment(), cwd=tmp_path, check=True)


def test_it_serves_the_page(installed: Path, tmp_path: Path) -> None:
    import httpx

    port = free_port()
    page = subprocess.Popen(
        [installed / "detclipv2", "app", "--port", str(port)],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for _ in range(120):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.HTTPError:
                assert page.poll() is None, page.stdout and page.stdout.read()
                time.sleep(0.5)
        assert answer.status_code == 200 and "DetCLIPv2" in answer.text
    finally:
        page.terminate()
        page.wait(20)


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {_plain(re.split(r"[>=<\[ ]", line)[0]) for group in groups for line in group}
    of_module = packages_distributions()
    own = {"app", "detclipv2", "train"}
    missing = {}
    for package in sorted(own):
        for file in (REPO / package).rglob("*.py"):
            for top in _imports(file) - own - set(sys.stdlib_module_names):
                known = {_plain(name) for name in of_module.get(top, [top])}
                if not known & names:
                    missing[top] = str(file.relative_to(REPO))
    assert not missing


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _imports(file: Path) -> set[str]:
    tops = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            tops.add(node.module.split(".")[0])
    return tops
