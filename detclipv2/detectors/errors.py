"""What is raised where a detector cannot be used."""

from __future__ import annotations


class DetectorError(ValueError):
    """A detector or a setting that cannot be used; the message says what to do."""
