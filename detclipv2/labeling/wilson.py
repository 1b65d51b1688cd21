"""How sure a proportion is."""

from __future__ import annotations

import math

_Z = 1.959964  # 95 %


def wilson(successes: int, trials: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)
