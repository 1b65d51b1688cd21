"""The words of a run's ledger: where an image lies, what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["pending", "done", "empty", "failed"]


class RunError(ValueError):
    """A run folder or a setting that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class ImageRef:
    """Where an image lies.

    Attributes:
        file_name: how the run and its exports name it; unique, with forward slashes.
        place: a file, an archive, a video, or an address.
        member: the name inside the archive, or the number of the video's frame.
        task: the Label Studio task it belongs to.
    """

    file_name: str
    place: str
    member: str | None = None
    task: int | None = None


@dataclass(frozen=True)
class ImageRow:
    """One image of the ledger; sizes in pixels of the upright original, None until looked at."""

    id: int
    file_name: str
    place: str
    member: str | None
    task: int | None
    state: State
    reason: str | None
    sha256: str | None
    width: int | None
    height: int | None
    seconds: float | None

    @property
    def ref(self) -> ImageRef:
        """Where it lies."""
        return ImageRef(self.file_name, self.place, self.member, self.task)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; only of images that were looked at."""
        if self.width is None or self.height is None:
            raise RunError(f"{self.file_name} was not looked at yet ({self.state})")
        return self.width, self.height


@dataclass(frozen=True)
class Counts:
    """How many images are in each state."""

    pending: int = 0
    done: int = 0
    empty: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All images of the run."""
        return self.pending + self.done + self.empty + self.failed

    @property
    def processed(self) -> int:
        """Images that are not pending."""
        return self.total - self.pending
