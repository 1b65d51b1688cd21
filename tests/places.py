"""Where the tests find the repository and the photos that come with it."""

from __future__ import annotations

import socket
from pathlib import Path

from detclipv2.assets import FOLDER

REPO = Path(__file__).resolve().parents[1]
DEMO = FOLDER / "demo"


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
