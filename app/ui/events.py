"""How handlers are queued and what the API offers."""

from __future__ import annotations

from typing import Any

MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""Of every handler that runs the model: they share one slot of the queue, on all tabs."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""Of handlers that only the page calls: the API does not offer them."""
