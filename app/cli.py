"""`detclipv2 COMMAND`, or `python -m app.cli COMMAND`: the page, and all it does without one.

Exit codes: 0 all done · 1 some images, files or classes were left out · 2 nothing could be done ·
130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from typing import NoReturn

from app.commands import labelstudio
from app.commands.ask import add_command as add_ask
from app.commands.decide import add_command as add_decide
from app.commands.detect import INTERRUPTED, OK, SOME_FAILED, USAGE, run_detect
from app.commands.detect_arguments import EXAMPLES, UsageError, add_arguments
from app.commands.explore import add_commands as add_explore
from app.commands.learn import add_command as add_learn
from app.commands.onnx import add_command as add_onnx
from app.commands.simulate import add_command as add_simulate
from app.labelstudio.api.connection import LabelStudioError
from detclipv2.command import run_command

__all__ = ["INTERRUPTED", "OK", "SOME_FAILED", "USAGE", "UsageError", "build_parser", "main"]


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that point to --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    parser = _Parser(prog="detclipv2", description="DetCLIPv2 on the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("app", help="serve the page; `detclipv2 app --help` says more")
    detect = commands.add_parser(
        "detect",
        help="find the classes you name in images and folders",
        description="Find the classes you name; writes COCO JSON and drawn pictures (--out), or a "
        "run folder that can be resumed, exported and pushed (--run).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(detect)
    add_ask(commands)
    add_explore(commands)
    add_decide(commands)
    add_learn(commands)
    add_simulate(commands)
    add_onnx(commands)
    labelstudio.add_commands(commands)
    return parser


def _say(message: str) -> None:
    print(f"detclipv2: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv` (default: the process's own) and run; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["app"]:
        from app.__main__ import main as serve

        return serve(words[1:])
    try:
        arguments = build_parser().parse_args(words)
    except SystemExit as stop:  # --help and usage errors; a caller in Python gets a code, too
        return int(stop.code or 0)
    try:
        if arguments.command == "detect":
            return run_detect(arguments, _say)
        code: int = arguments.act(arguments)
        return code
    except sqlite3.Error as error:
        _say(f"error: the run's ledger: {error}; check its folder's permissions and the disk")
        return USAGE
    except (UsageError, LabelStudioError, OSError) as error:
        _say(f"error: {error}")
        return USAGE
    except ValueError as error:
        if arguments.command == "detect":  # a mistake of ours; it names its own as UsageError
            raise
        _say(f"error: {error}")
        return USAGE
    except KeyboardInterrupt:
        if arguments.command == "detect":
            _say("stopped before the first image; nothing was written")
        else:
            _say("stopped; the same command goes on where this one stopped")
        return INTERRUPTED


def run() -> NoReturn:
    """The console script `detclipv2`."""
    run_command(main)


if __name__ == "__main__":
    run()
