"""README and docs: links lead somewhere, commands and options exist, Python runs, words are few."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

from app.cli import build_parser
from tests.places import REPO

DOCUMENTS = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
LOG, MOVES = "research_log.md", "moves.md"


def commands(document: Path) -> list[str]:
    """The commands of its code blocks that name no language, each on one line."""
    parts = re.split(r"^```(.*)\n", document.read_text(), flags=re.M)
    blocks = [parts[i + 1] for i in range(1, len(parts) - 1, 4) if not parts[i].strip()]
    found = []
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#.*", "", line).strip()
            found += [part.strip() for part in re.split(r" (?:&&|;) ", line) if part.strip()]
    return found


EVERY = [
    pytest.param(command, id=f"{document.name}: {command[:60]}")
    for document in DOCUMENTS
    if document.name != LOG
    for command in commands(document)
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_readme_is_short_and_begins_with_what_a_user_asks() -> None:
    text = (REPO / "README.md").read_text()
    assert len(text.split()) <= 1000
    titles = re.findall(r"^## (.*)", text, re.M)
    assert titles[:2] == ["Install", "Three ways to use it"]
    assert "research use" in text.split("## Install")[0]


@pytest.mark.parametrize("command", EVERY)
def test_commands_and_their_options_exist(command: str) -> None:
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["detclipv2"] and words[1:2] == ["app"]:
        from app.__main__ import build_parser as page

        page().parse_args(words[2:])
    elif words[:1] == ["detclipv2"]:
        build_parser().parse_args(words[1:])
    elif "-m" in words and words[words.index("-m") + 1].split(".")[0] in ("train", "app"):
        at = words.index("-m") + 1
        help_text = io.StringIO()
        with contextlib.redirect_stdout(help_text), pytest.raises(SystemExit):
            importlib.import_module(words[at]).main(["--help"])
        for option in (w.partition("=")[0] for w in words[at + 1 :] if w.startswith("--")):
            assert option in help_text.getvalue(), f"{words[at]} has no {option}"
    else:
        assert words[0] in ("make", "export", "cp", ".venv/bin/pip", ".venv/bin/pre-commit"), (
            command
        )
        if words[0] == "make":
            targets = (REPO / "Makefile").read_text()
            assert f"\n{words[1]}:" in targets


def test_pages_name_modules_and_files_that_exist() -> None:
    for document in DOCUMENTS:
        if document.name in (LOG, MOVES, "prompts.md"):
            continue
        for name in set(
            re.findall(r"`((?:app|detclipv2|train)(?:/[\w.]+)+/?)`", document.read_text())
        ):
            assert (REPO / name).exists(), f"{document.name}: {name}"
        for name in set(re.findall(r"`(train(?:\.\w+)+)", document.read_text())):
            path = REPO / name.replace(".", "/")
            parent = path.parent
            assert (
                path.is_dir()
                or path.with_suffix(".py").is_file()
                or parent.with_suffix(".py").is_file()
            ), f"{document.name}: {name}"


def test_the_list_of_moves_names_places_that_exist() -> None:
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", (REPO / "docs" / MOVES).read_text(), re.M)
    assert len(rows) > 100
    assert [new for _, new in rows if not (REPO / new).exists()] == []
    assert [old for old, _ in rows if (REPO / old).exists()] == []


@pytest.mark.filterwarnings("error")
def test_pages_of_the_library_show_every_public_name(tmp_path: Path) -> None:
    import detclipv2
    from tests.api_pages import modules, write

    assert {"detclipv2.model", "detclipv2.nn.head", "detclipv2.nano.tower"} <= {*modules()}
    write(tmp_path, ["detclipv2", "detclipv2.serving"])
    page = (tmp_path / "detclipv2.html").read_text()
    for name in detclipv2.__all__:
        assert f'id="{name}"' in page, name
    assert "lowest score of classes without a threshold" in page
