"""What labelers taught the live backend, kept over restarts."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from app.formats.atomic import write_bytes
from app.labelstudio.learn.calibrate import Proposal

log = logging.getLogger(__name__)

_MOST = 1000
"""Projects whose prompts are kept; of more, those typed last."""


@dataclass(frozen=True)
class Prompt:
    """What a labeler typed, and the configuration it was typed under."""

    text: str
    config: str


@dataclass(frozen=True)
class Learned:
    """Thresholds, and the checkpoint whose scores they are of."""

    checkpoint: str
    proposals: tuple[Proposal, ...]


class _Prompt(TypedDict):
    text: str
    config: str


class _Learned(TypedDict):
    checkpoint: str
    proposals: list[tuple[str, float | None, str]]


class _Stored(TypedDict):
    server: str
    prompts: dict[str, _Prompt]
    learned: dict[str, _Learned]


_STORED: TypeAdapter[_Stored] = TypeAdapter(_Stored)


def state_file(server: str) -> Path:
    """Where the backend of the Label Studio at `server` keeps its memory by default."""
    from platformdirs import user_data_path

    name = hashlib.sha256(server.encode()).hexdigest()[:16]
    return user_data_path("detclipv2") / "backend" / f"{name}.json"


class LearnedState:
    """Prompts and thresholds by project. Thread-safe; every change is written at once.

    Args:
        file: where it is kept, None for nowhere.
        server: address of the Label Studio whose projects they are.

    Raises:
        ValueError: the file is damaged, or is of another Label Studio.
    """

    def __init__(self, file: Path | None = None, server: str = "") -> None:
        self._file, self._server = file, server
        self._prompts: dict[str, Prompt] = {}
        self._learned: dict[str, Learned] = {}
        self._lock = threading.Lock()
        if file is not None and file.is_file():
            self._read(file)

    def prompt(self, project: str) -> Prompt | None:
        """The last prompt of a project."""
        return self._prompts.get(project)

    def learned(self, project: str, checkpoint: str) -> tuple[Proposal, ...]:
        """The thresholds that a project's labels gave for this checkpoint."""
        found = self._learned.get(project)
        return found.proposals if found is not None and found.checkpoint == checkpoint else ()

    def keep_prompt(self, project: str, prompt: Prompt | None) -> None:
        """A project's prompt from now on; None forgets it."""
        with self._lock:
            if self._prompts.get(project) == prompt:
                return
            self._prompts.pop(project, None)
            if prompt is not None:
                self._prompts[project] = prompt
                if len(self._prompts) > _MOST:
                    del self._prompts[next(iter(self._prompts))]
            self._write()

    def keep_learned(self, project: str, learned: Learned) -> None:
        """A project's thresholds from now on."""
        with self._lock:
            self._learned[project] = learned
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        stored = {
            "server": self._server,
            "prompts": {p: vars(prompt) for p, prompt in self._prompts.items()},
            "learned": {
                project: {
                    "checkpoint": one.checkpoint,
                    "proposals": [[p.name, p.threshold, p.reason] for p in one.proposals],
                }
                for project, one in self._learned.items()
            },
        }
        try:
            write_bytes(self._file, json.dumps(stored, indent=1, ensure_ascii=False).encode())
        except OSError as error:  # it counts until the backend ends
            log.warning("%s cannot be written, so a restart will forget: %s", self._file, error)

    def _read(self, file: Path) -> None:
        try:
            stored = _STORED.validate_json(file.read_bytes())
            server = stored["server"]
            self._prompts = {p: Prompt(**prompt) for p, prompt in stored["prompts"].items()}
            self._learned = {
                project: Learned(
                    one["checkpoint"], tuple(Proposal(*values) for values in one["proposals"])
                )
                for project, one in stored["learned"].items()
            }
        except ValueError as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{file} is damaged ({why}); remove it to begin without learned thresholds"
            ) from error
        if server != self._server:
            raise ValueError(
                f"{file} belongs to the Label Studio at {server}, not to {self._server}; name "
                "another file with --state"
            )
