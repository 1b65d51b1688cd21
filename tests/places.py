"""Where the tests find the repository and the photos that come with it."""

from __future__ import annotations

from pathlib import Path

from detclipv2.assets import FOLDER

REPO = Path(__file__).resolve().parents[1]
DEMO = FOLDER / "demo"
