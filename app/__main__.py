"""`python -m app`: the web app on this machine."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger("app")


def build_parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    parser = argparse.ArgumentParser(
        prog="python -m app", description="The DetCLIPv2 web app, on this machine, offline."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument(
        "--model", default="nano", metavar="NAME",
        help="a shipped model's name or a checkpoint folder (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int, metavar="PX",
        help="look once at every photo, with this long side, a multiple of 32 (default: the "
        "model's own looks, which may be several)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-folder", type=Path, action="append", default=[], metavar="DIR", dest="folders",
        help="visitors from other machines may look at photos below it; may be given several "
        "times (default: they can only upload)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Load, measure, serve until Ctrl-C; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for own in (log, logging.getLogger("detclipv2")):
        own.setLevel(logging.INFO)  # libraries only speak up when something is wrong
    folders = tuple(folder.resolve() for folder in arguments.folders)
    for folder in folders:
        if not folder.is_dir():
            print(f"python -m app: error: --allow-folder {folder} is no folder", file=sys.stderr)
            return 2
    from app.engine import Engine
    from app.results import EngineError

    log.info("Loading %s …", arguments.model)
    try:
        engine = Engine.load(arguments.model, size=arguments.size)
    except EngineError as error:
        print(f"python -m app: error: {error}", file=sys.stderr)
        return 2
    log.info(
        "Loaded %s (checkpoint %s, %s) on %s by %s.",
        engine.name, engine.checkpoint, engine.pixels, engine.predictor.device,
        engine.predictor.runtime,
    )  # fmt: skip
    from app.ui.detect_actions import DEMO, SAMPLES

    name, prompts = SAMPLES[0]
    milliseconds = engine.measure(DEMO / name, prompts)
    log.info("A photo takes %.0f ms here (%s after one warm-up).", milliseconds, name)
    from app.ui.access import Access
    from app.ui.build import build_app, launch_options

    app = build_app(engine, Access(folders))
    try:
        _, url, _ = app.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(),
        )
    except OSError as error:
        print(
            f"python -m app: error: cannot serve {arguments.host}:{arguments.port} ({error}); "
            f"another port may be free: --port {arguments.port + 1}",
            file=sys.stderr,
        )
        return 2
    log.info("Open %s  (Ctrl-C stops)", url)
    app.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
