"""The photo panel of the tabs."""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.utils import get_upload_folder

from detclipv2.assets import FOLDER

DEMO = FOLDER / "demo"
"""The shipped photos."""


def cache_folder() -> Path:
    """Where drawings and downloads go: inside gradio's cache, which may serve and empties it."""
    return Path(get_upload_folder()) / "detclipv2"


class _Unwritten(ComponentMeta):
    """Makes component classes without the .pyi file that gradio puts beside their source."""

    def __new__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> Any:
        """What gradio adds here concerns new events and constructors; these have neither."""
        return ABCMeta.__new__(cls, name, bases, members)


class Photo(gr.Image, metaclass=_Unwritten):
    """gr.Image that hands over the file as it was uploaded.

    gr.Image decodes an upload itself and answers a broken one with a toast; the detector's reader
    also knows rotation, odd modes and limits, and says what to do.
    """

    is_template = True  # gradio then draws it with gr.Image's own front end

    def preprocess(self, payload: Any) -> Any:
        """Path of the uploaded file, None without one."""
        return None if payload is None else payload.path
