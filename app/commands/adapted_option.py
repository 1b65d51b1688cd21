"""What a run has learned, for the commands that take it with --adapted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from app.commands.detect_arguments import UsageError

if TYPE_CHECKING:
    from detclipv2.inference.adapted_classes import AdaptedClasses


def adapted_of(arguments: argparse.Namespace) -> AdaptedClasses | None:
    """What was named; None where nothing was.

    Raises:
        UsageError: there is no such file, or a damaged one.
    """
    if arguments.adapted is None:
        return None
    from app.adaptation.export import read_adapted
    from app.adaptation.state import LearnedError

    try:
        return read_adapted(arguments.adapted)
    except LearnedError as error:
        raise UsageError(f"--adapted: {error}") from error
