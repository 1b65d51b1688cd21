"""Where the page keeps its runs, the jobs that work on them, and who may open which."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, count
from pathlib import Path

import gradio as gr

from app.runs.find import find_runs
from app.runs.jobs import Job
from app.runs.records import RunError
from app.runs.store import Run
from app.ui.shared.access import Access

RUNS_VARIABLE = "DETCLIPV2_RUNS"
UPLOADS = "inputs"
"""The folder of a run that keeps what was uploaded for it."""


def runs_folder() -> Path:
    """`$DETCLIPV2_RUNS`, else the system's folder for an application's data."""
    from platformdirs import user_data_path

    written = os.environ.get(RUNS_VARIABLE)
    return Path(written) if written else user_data_path("detclipv2") / "runs"


@dataclass
class RunFolders:
    """The runs of one app: those on disk, and those being worked on.

    Visitors see the runs that were begun from where they are, and those whose photos they may name;
    the operator sees all.
    """

    root: Path = field(default_factory=runs_folder)
    access: Access = field(default_factory=Access)
    jobs: dict[str, Job] = field(default_factory=dict)

    def names(self, visitor: gr.Request) -> list[str]:
        """Names of the runs that a visitor may open, newest first."""
        if not self.root.is_dir():
            return []
        return [f.name for f in find_runs(self.root) if self._may_open(f, visitor)]

    def choices(self, visitor: gr.Request) -> list[tuple[str, str]]:
        """The names as a list shows them: runs that nobody can read are said to be so."""
        return [
            (f"{name} (cannot be read)" if self._problem(name) else name, name)
            for name in self.names(visitor)
        ]

    def listed(self, chosen: str | None, visitor: gr.Request) -> gr.Dropdown:
        """The list of runs for a page that has just come up; the newest is chosen if none was."""
        choices = self.choices(visitor)
        names = [name for _, name in choices]
        fallback = names[0] if names else None
        return gr.Dropdown(choices=choices, value=chosen if chosen in names else fallback)

    def open(self, name: str | None, visitor: gr.Request) -> Run:
        """The run of that name.

        Raises:
            RunError: none is chosen, it is not one of ours, or it is not for this visitor.
        """
        if not name:
            raise RunError("no run is chosen; start one in the Batch tab, or pick one")
        folder = self.root / name
        if folder.parent != self.root or name in (".", ".."):
            raise RunError(f"{name!r} is no name of a run")
        if not self._may_open(folder, visitor):
            raise RunError(
                f"{name!r} is no run that visitors may open; its photos have to lie in a folder "
                "that the app was started with as --allow-folder, or the page has to be opened by "
                "the address that the terminal printed"
            )
        return self.jobs[name].run if name in self.jobs else Run(folder)

    def job(self, name: str | None, visitor: gr.Request) -> Job | None:
        """What works on a run, or did since the app was started, if the visitor may open it."""
        job = self.jobs.get(name or "")
        return job if job and self._may_open(job.run.folder, visitor) else None

    @contextmanager
    def new(self, wanted: str) -> Iterator[Path]:
        """A folder for a new run, taken at once, and given back if the run cannot begin.

        The name loses what file systems dislike.
        """
        from datetime import datetime

        kept = "".join(c if c.isalnum() or c in "-_ " else "-" for c in wanted).strip(" -")[:60]
        name = kept or datetime.now().strftime("run-%Y%m%d-%H%M%S")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for free in chain([name], (f"{name}-{number}" for number in count(2))):
            folder = self.root / free
            with suppress(FileExistsError):  # also of a run that is only about to begin
                folder.mkdir(mode=0o700)
                break
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _problem(self, name: str) -> str:
        """Why a run cannot be opened; empty where it can."""
        if name in self.jobs:
            return ""
        folder = self.root / name
        try:
            ledger = (folder / "ledger.sqlite").lstat().st_mtime_ns
            return _problem_of(folder, (folder / "run.json").lstat().st_mtime_ns, ledger)
        except (OSError, ValueError, sqlite3.Error) as error:
            return str(error)

    def _may_open(self, folder: Path, visitor: gr.Request) -> bool:
        if self.access.is_operator(visitor):
            return True
        try:
            made = (folder / "run.json").stat().st_mtime_ns
            begun_by, open_to_all = _begun_by_and_open(folder, made, self.access)
            return open_to_all or bool(begun_by and begun_by == self.access.origin(visitor))
        except (OSError, ValueError, sqlite3.Error):  # none, or one that nobody can open
            return False


@lru_cache(maxsize=10_000)
def _problem_of(folder: Path, _settings_made: int, _ledger_made: int) -> str:
    try:
        with closing(Run(folder)) as run:
            run.counts()
            run.view  # noqa: B018  # it is read from the ledger
    except (OSError, ValueError, sqlite3.Error) as error:
        return str(error)
    return ""


@lru_cache(maxsize=10_000)
def _begun_by_and_open(folder: Path, made: int, access: Access) -> tuple[str, bool]:
    """From where a run was begun, and whether every visitor may see its photos.

    Both are fixed once its settings are `made`.
    """
    with closing(Run(folder)) as run:
        return run.settings.begun_by, access.opens(row.ref for row in run.images())


def keep_uploads(files: Sequence[str], folder: Path) -> list[str]:
    """Copies of uploaded files, since gradio's cache is emptied; no name twice."""
    folder.mkdir(parents=True)
    kept = []
    for file in map(Path, files):
        target, number = folder / file.name, 1
        while target.exists():
            number += 1
            target = folder / f"{file.stem}-{number}{file.suffix}"
        shutil.copyfile(file, target)
        kept.append(str(target))
    return kept
