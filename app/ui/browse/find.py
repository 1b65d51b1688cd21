"""From the Browse tab's controls to a page of photos, a photo, or why not; no gradio here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.browse.job import readable_runs
from app.browse.records import AlignedPhoto, Filter, Order
from app.browse.store import BrowseRun
from app.ui.shared.permissions import Permissions
from app.ui.shared.trouble import Trouble

PAGE = 12
ANY = 6.0
"""The top of the slider: photos of any evidence."""


@dataclass(frozen=True)
class GalleryInputs:
    """What the tab's controls say.

    Attributes:
        folder: of the run.
        phrase: that captions must have; empty for any.
        most: highest evidence of a photo; `ANY` for all.
        missing: only photos with a phrase that is not there.
        least: evidence from which on a phrase is there.
        order: of the photos.
        page: counts from 1; beyond the last one it is the last.
    """

    folder: str
    phrase: str
    most: float
    missing: bool
    least: float
    order: Order
    page: float


@dataclass(frozen=True)
class GalleryPage:
    """Photos of a page, its number, how many pages there are, and how many photos on all."""

    photos: Sequence[AlignedPhoto]
    number: int
    pages: int
    total: int


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo's file content, its name without folders and ending, and its caption."""

    content: bytes
    name: str
    caption: str


def find(inputs: GalleryInputs, may: Permissions) -> GalleryPage | Trouble:
    """A page of the photos that pass the filters."""
    most = None if inputs.most >= ANY else inputs.most
    chosen = Filter(inputs.phrase, most, inputs.least, inputs.missing)
    run, number = BrowseRun(Path(inputs.folder)), max(1, int(inputs.page or 1))
    rows, total = run.find(chosen, inputs.order, offset=PAGE * (number - 1), limit=PAGE)
    pages = max(1, -(-total // PAGE))
    if number > pages:
        number = pages
        rows, total = run.find(chosen, inputs.order, offset=PAGE * (number - 1), limit=PAGE)
    try:  # captions may name photos of other folders
        may.files(row.photo.file for row in rows)
    except ValueError as error:
        return Trouble.of(error)
    return GalleryPage(rows, number, pages, total)


def open_photo(folder: str, number: object, may: Permissions) -> OpenedPhoto | Trouble:
    """The photo of a card."""
    try:
        found = BrowseRun(Path(folder)).get(int(str(number)))
    except (KeyError, ValueError):
        return Trouble("This photo cannot be opened: it is not in the list; show the page again")
    try:
        may.files([found.photo.file])
        content = found.photo.read()
        content = content.read_bytes() if isinstance(content, Path) else content
    except OSError as error:
        return Trouble(f"This photo cannot be opened: {error.strerror or error}")
    except ValueError as error:
        return Trouble(f"This photo cannot be opened: {error}")
    name = Path(found.photo.name.split(": ")[-1]).stem
    return OpenedPhoto(content, name, found.photo.caption)


def visible_runs(may: Permissions) -> list[BrowseRun]:
    """The runs whose data set may be named, the last used first."""
    found = []
    for run in readable_runs():
        about = run.about
        try:
            may.paths([] if about is None else [about.source])
        except ValueError:
            continue
        found.append(run)
    return found
