"""How long the image tower takes for a photo on this machine."""

from __future__ import annotations

from collections import deque
from statistics import median

from detclipv2.serving import DetectSettings, Looks

_KEPT = 32


class LookTimes:
    """The image tower's times of the last photos, by looks. Not thread-safe."""

    def __init__(self) -> None:
        self._seconds: dict[Looks, deque[float]] = {}

    def add(self, settings: DetectSettings, seconds: float) -> None:
        """Note a photo that was encoded with these settings.

        The first one of a kind does not count: it also pays for the runtime's preparations. Nor do
        photos with a size or tiles, which take other looks.
        """
        if settings.size is not None or settings.tiles > 1:
            return
        if settings.looks not in self._seconds:
            self._seconds[settings.looks] = deque(maxlen=_KEPT)
        else:
            self._seconds[settings.looks].append(seconds)

    def milliseconds(self, looks: Looks) -> float | None:
        """The median of the last photos; None before the first one that counts."""
        seconds = self._seconds.get(looks)
        return 1000 * median(seconds) if seconds else None
