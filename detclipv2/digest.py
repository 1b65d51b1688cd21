"""Hex digest of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor


def digest(tensors: Iterable[tuple[str, Tensor]], salt: bytes = b"") -> str:
    """Hex SHA-256 of `salt` and of names and values."""
    sha = hashlib.sha256(salt)
    for name, tensor in tensors:
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().data)
    return sha.hexdigest()
