"""The errors that a handler of the page shows in its status: of people, disks, servers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.connection import LabelStudioError
from app.runs.files import SourceError
from app.runs.records import RunError
from detclipv2.language.vocabulary import VocabularyError

TROUBLE = (
    RunError,
    SourceError,
    VocabularyError,
    LabelStudioError,
    ConfigError,
    OSError,
    ValueError,
    sqlite3.Error,
)


@dataclass(frozen=True)
class Trouble:
    """Why there is no result; the words say what to do."""

    message: str

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """The trouble that an error makes."""
        return cls(explain(error))


def explain(error: Exception) -> str:
    """An error in words for people: those of the file system without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
