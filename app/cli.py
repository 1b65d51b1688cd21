"""`python -m app.cli COMMAND`: the whole app without a browser.

Exit codes: 0 all images done · 1 some images failed · 2 wrong usage · 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from app.labelstudio import commands as labelstudio
from app.labelstudio.connection import LabelStudioError
from app.runs.arguments import EXAMPLES, add_arguments
from app.runs.command import INTERRUPTED, OK, SOME_FAILED, USAGE, UsageError, run_detect

__all__ = ["INTERRUPTED", "OK", "SOME_FAILED", "USAGE", "UsageError", "build_parser", "main"]


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that point to --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    parser = _Parser(prog="python -m app.cli", description="DetCLIPv2 on the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    detect = commands.add_parser(
        "detect",
        help="find the classes you name in images and folders",
        description="Find the classes you name; writes COCO JSON and drawn pictures (--out), or a "
        "run folder that can be resumed, exported and pushed (--run).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(detect)
    labelstudio.add_commands(commands)
    return parser


def _say(message: str) -> None:
    print(f"python -m app.cli: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv` (default: the process's own) and run; returns the exit code."""
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:  # --help and usage errors; a caller in Python gets a code, too
        return int(stop.code or 0)
    try:
        if arguments.command == "detect":
            return run_detect(arguments, _say)
        code: int = arguments.act(arguments)
        return code
    except (UsageError, LabelStudioError, ValueError, OSError) as error:
        if arguments.command == "detect" and not isinstance(error, UsageError | LabelStudioError):
            raise
        _say(f"error: {error}")
        return USAGE
    except KeyboardInterrupt:
        _say("stopped before the first image; nothing was written")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
