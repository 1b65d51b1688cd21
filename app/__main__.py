"""`python -m app`: the web app on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.adapted_option import adapted_of
from app.commands.detection_options import add_adapted, add_detection, detection_changes
from detclipv2.command import run_command

if TYPE_CHECKING:
    from app.engine import Engine
    from detclipv2.inference.adapted_classes import AdaptedClasses
    from detclipv2.serving import DetectChanges

log = logging.getLogger("app")

PASSWORD_VARIABLE = "DETCLIPV2_PASSWORD"


def build_parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    parser = argparse.ArgumentParser(
        prog="detclipv2 app", description="The DetCLIPv2 web app, on this machine, offline."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument(
        "--model",
        default="nano",
        metavar="NAME",
        help="a shipped model's name or a checkpoint folder (default: %(default)s)",
    )
    add_adapted(parser)
    add_detection(parser, "size", "looks")
    parser.add_argument(
        "--auth",
        metavar="USER",
        help=f"ask everybody for this user and the password in ${PASSWORD_VARIABLE}",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        dest="names",
        help="answer under this host name as well, such as a proxy's or a tunnel's; may be given "
        "several times (default: this machine's own)",
    )
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        dest="proxies",
        help="believe X-Forwarded-For of a proxy at this address or network; may be given several "
        "times (default: of none)",
    )
    parser.add_argument(
        "--allow-folder",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        dest="folders",
        help="visitors may look at photos below it; may be given several times (default: they "
        "can only upload)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Load, measure, serve until Ctrl-C; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for own in (log, logging.getLogger("detclipv2")):
        own.setLevel(logging.INFO)  # libraries only speak up when something is wrong
    from detclipv2.detectors.errors import DetectorError

    try:
        return _run(arguments)
    except (DetectorError, ValueError) as error:
        print(f"detclipv2 app: error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    from app.ui.build import build_app
    from app.ui.request_guard import ServedNames, is_loopback
    from app.ui.serve import guarded, listen, server
    from app.ui.shared.access import Access

    folders = _folders(arguments.folders)
    auth = _auth(arguments.auth)
    names = ServedNames.of(arguments.host, arguments.names)
    # where everybody may come in unasked, nobody is the operator
    token = secrets.token_urlsafe(24) if auth or is_loopback(arguments.host) else ""
    try:
        sock = listen(arguments.host, arguments.port)
    except OSError as error:
        raise ValueError(
            f"cannot serve {arguments.host}:{arguments.port} ({error}); another port may be free: "
            f"--port {arguments.port + 1}"
        ) from error
    with sock:
        page = build_app(
            _load(arguments.model, detection_changes(arguments), adapted_of(arguments)),
            Access(folders, token),
        )
        app = guarded(page, names, trusted_proxies=arguments.proxies, auth=auth)

        def started() -> None:
            port = sock.getsockname()[1]
            if not token:
                log.info(
                    "Anybody who reaches %s port %d can use the page, without a password (--auth "
                    "USER asks for one), so it reads no folders of this machine but those of "
                    "--allow-folder, and never uses its Label Studio key.",
                    arguments.host,
                    port,
                )
            log.info("Open %s  (Ctrl-C stops)", address(arguments.host, port, token))
            if token:
                log.info(
                    "The part behind # makes it your page: it may name folders of this machine."
                )

        server(app, started).run(sockets=[sock])
    return 0


def address(host: str, port: int, token: str) -> str:
    """Where the page opens; with the token behind #, which browsers keep to themselves."""
    from app.ui.request_guard import is_wildcard

    name = "127.0.0.1" if is_wildcard(host) else host.strip("[]")
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"#token={token}" if token else "")


def _folders(folders: Sequence[Path]) -> tuple[Path, ...]:
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"--allow-folder {folder} is no folder")
    return tuple(folder.resolve() for folder in folders)


def _auth(user: str | None) -> tuple[str, str] | None:
    if not user:
        return None
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        raise ValueError(f"--auth needs the password in ${PASSWORD_VARIABLE}")
    return user, password


def _load(model: str, changes: DetectChanges, adapted: AdaptedClasses | None) -> Engine:
    """The engine, measured on a photo."""
    from app.engine import Engine

    log.info("Loading %s …", model)
    engine = Engine.load(model, changes, adapted=adapted)
    log.info(
        "Loaded %s (checkpoint %s, %s) on %s by %s.",
        engine.name,
        engine.checkpoint,
        engine.pixels,
        engine.predictor.device,
        engine.predictor.runtime,
    )
    from app.ui.detect.actions import SAMPLES
    from app.ui.shared.photo import DEMO

    name, prompts = SAMPLES[0]
    milliseconds = engine.measure(DEMO / name, prompts)
    log.info("A photo takes %.0f ms here (%s after one warm-up).", milliseconds, name)
    if engine.has_looks:
        log.info(
            "The image tower alone: %.0f ms with fast looks, %.0f ms with thorough ones.",
            engine.milliseconds_of("fast"),
            engine.milliseconds_of("thorough"),
        )
    return engine


if __name__ == "__main__":
    run_command(main)
