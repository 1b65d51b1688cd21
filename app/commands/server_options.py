"""What the commands that talk to Label Studio have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.labelstudio.api.connection import KEY_VARIABLES, URL_VARIABLES, Connection
from app.labelstudio.api.environment import DOCUMENT_ROOT, document_root


def add_server(parser: argparse.ArgumentParser) -> None:
    """Which project on which server, with which key."""
    parser.add_argument("--project", type=int, metavar="ID", help="the project's number")
    parser.add_argument("--url", metavar="URL", help=f"default: ${' or $'.join(URL_VARIABLES)}")
    # never as an argument: other users of the machine can read those
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"file that holds the server's key; default: ${' or $'.join(KEY_VARIABLES)}, which is "
        f"sent to the server of ${' or $'.join(URL_VARIABLES)} only",
    )
    parser.add_argument(
        "--document-root",
        type=Path,
        metavar="DIR",
        help=f"Label Studio's folder of local files; default: ${DOCUMENT_ROOT}",
    )


def connect(arguments: argparse.Namespace) -> Connection:
    """The server of `add_server`'s options.

    Raises:
        LabelStudioError: no address or no key.
    """
    key = None
    if arguments.key_file is not None:
        key = arguments.key_file.read_text(encoding="utf-8").strip()
    return Connection.from_environment(arguments.url, key)


def root_of(arguments: argparse.Namespace) -> Path | None:
    """Label Studio's folder of local files: the option's, else the environment's, if any."""
    return arguments.document_root or document_root()
