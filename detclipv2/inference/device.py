"""The device a model runs on."""

from __future__ import annotations

import torch


def choose_device(name: str) -> torch.device:
    """Resolve "auto" and refuse what this machine lacks."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); "
            "use 'auto' or 'cpu'"
        ) from error
    return device
