"""What a model version says: whether a DetCLIPv2 made a prediction, and with which weights."""

from __future__ import annotations

OURS = "detclipv2-"


def made_by_us(version: str, checkpoint: str | None = None) -> bool:
    """Whether a version is of a DetCLIPv2, and of these weights.

    The name between is not compared: the same weights have another one in another folder.

    Args:
        version: e.g. `detclipv2-nano@0123abcd+v4567cdef`, see `Run.model_version`.
        checkpoint: hex digest of the weights; None for any.
    """
    return version.startswith(OURS) and (checkpoint is None or f"@{checkpoint[:8]}+v" in version)
