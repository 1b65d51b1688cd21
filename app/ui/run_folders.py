"""Where the page keeps its runs, and the jobs that work on them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from app.runs.jobs import Job
from app.runs.records import RunError
from app.runs.store import Run, find_runs

RUNS_VARIABLE = "DETCLIPV2_RUNS"


def runs_folder() -> Path:
    """`$DETCLIPV2_RUNS`, else the system's folder for an application's data."""
    from platformdirs import user_data_path

    written = os.environ.get(RUNS_VARIABLE)
    return Path(written) if written else user_data_path("detclipv2") / "runs"


@dataclass
class RunFolders:
    """The runs of one app: those on disk, and those being worked on."""

    root: Path = field(default_factory=runs_folder)
    jobs: dict[str, Job] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Names of the run folders, newest first."""
        return [folder.name for folder in find_runs(self.root)] if self.root.is_dir() else []

    def listed(self, chosen: str | None) -> gr.Dropdown:
        """The list of runs for a page that has just come up; the newest is chosen if none was."""
        names = self.names()
        fallback = names[0] if names else None
        return gr.Dropdown(choices=names, value=chosen if chosen in names else fallback)

    def open(self, name: str | None) -> Run:
        """The run of that name.

        Raises:
            RunError: none is chosen, or it is not one of ours.
        """
        if not name:
            raise RunError("no run is chosen; start one in the Batch tab, or pick one")
        if name in self.jobs:
            return self.jobs[name].run
        folder = self.root / name
        if folder.parent != self.root or name in (".", ".."):
            raise RunError(f"{name!r} is no name of a run")
        return Run(folder)

    def new(self, wanted: str) -> Path:
        """A free folder for a new run; the name loses what file systems dislike."""
        from datetime import datetime

        kept = "".join(c if c.isalnum() or c in "-_ " else "-" for c in wanted).strip(" -")[:60]
        name = kept or datetime.now().strftime("run-%Y%m%d-%H%M%S")
        folder, count = self.root / name, 1
        while folder.exists():
            count += 1
            folder = self.root / f"{name}-{count}"
        return folder
