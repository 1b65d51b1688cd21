"""How handlers are queued and what the API offers."""

from __future__ import annotations

from typing import Any

import gradio as gr

SKIP: Any = gr.skip()
"""What a handler gives for a component that stays as it is."""
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""Of every handler that runs the model: they share one slot of the queue, on all tabs."""
LONG: dict[str, Any] = {"concurrency_id": "long", "concurrency_limit": 8}
"""Of handlers that go through many photos: they have the model for one photo at a time (see
`FairLock`), and the queue's slot for none."""
SERVER: dict[str, Any] = {"concurrency_limit": 8}
"""Of handlers that wait for a Label Studio, each for itself: without a limit of their own gradio
lets one visitor's handler run at a time, and the next visitor waits for it."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""Of handlers that only the page calls: the API does not offer them."""
