"""The runs that can be explored: opened for a visitor, with their index and their photos."""

from __future__ import annotations

import getpass
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from app.engine import Engine
from app.index.build import index_folder, index_of
from app.index.store import RegionIndex
from app.labelstudio.api.connection import Connection
from app.lru import LRUCache
from app.review.order import review_order
from app.runs.records import ImageRow
from app.runs.store import Run
from app.ui.explore.pictures import Pictures
from app.ui.shared.access import Access
from app.ui.shared.reading import Reader, reader_of
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.trouble import TROUBLE, Trouble

if TYPE_CHECKING:
    import gradio as gr

_ORDERS = 16


@dataclass(frozen=True, eq=False)
class IndexedRun:
    """A run with its index."""

    run: Run
    index: RegionIndex

    @property
    def name(self) -> str:
        """As lists show it."""
        return self.run.folder.name

    @cached_property
    def rows(self) -> dict[int, ImageRow]:
        """The photos that were looked at, by their ids."""
        return {row.id: row for row in self.run.images("done", "empty")}

    @cached_property
    def photos(self) -> list[int]:
        """Ids of those that are indexed, in the order of the run."""
        indexed = set(self.index.images.tolist())
        return [image for image in self.rows if image in indexed]

    def names(self) -> dict[int, str]:
        """File names of the photos, by their ids."""
        return {image: row.file_name for image, row in self.rows.items()}


def with_index(run: Run) -> IndexedRun | Trouble:
    """The run with its index, or what to do where it has none."""
    if not index_folder(run).exists():
        return Trouble(
            f"“{run.folder.name}” has no index, so it cannot be explored. Start its photos again "
            "in the Batch tab, which indexes them while it looks at them; a run that was itself "
            "asked of another one is explored there."
        )
    try:
        found = IndexedRun(run, index_of(run))
        if not found.photos:
            return Trouble(f"No photo of “{found.name}” is indexed yet; wait for the first ones.")
    except TROUBLE as error:
        return Trouble.of(error)
    return found


def other_model(indexed: IndexedRun, engine: Engine) -> Trouble | None:
    """Why words cannot be compared with the run; None if this app runs its model."""
    checkpoint, model = indexed.index.header.checkpoint, indexed.run.settings.model
    if checkpoint in engine.predictor.region_fingerprints:
        return None
    return Trouble(
        f"“{indexed.name}” was looked at with checkpoint {checkpoint[:8]}, and this app runs "
        f"{engine.checkpoint}. Start the app with the run's model ({model}), or look at the photos "
        "again in the Batch tab."
    )


@dataclass(frozen=True)
class IndexedRuns:
    """What the parts of the tab share.

    Args:
        engine: the one engine of this app.
        runs: where runs live.
        access: what visitors may name.
        pictures: small copies of photos.
    """

    engine: Engine
    runs: RunFolders
    access: Access
    pictures: Pictures = field(default_factory=Pictures)
    _orders: LRUCache[tuple[str, str], tuple[int, ...]] = field(
        default_factory=lambda: LRUCache(_ORDERS)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, name: str | None, visitor: gr.Request) -> IndexedRun | Trouble:
        """The run of that name, if this visitor may open it and it has an index."""
        try:
            run = self.runs.open(name, visitor)
        except TROUBLE as error:
            return Trouble.of(error)
        return with_index(run)

    def open_of_model(self, name: str | None, visitor: gr.Request) -> IndexedRun | Trouble:
        """The same; the run has to be one of this app's model."""
        found = self.open(name, visitor)
        if isinstance(found, Trouble):
            return found
        return other_model(found, self.engine) or found

    def reader(self, connection: Connection | None, visitor: gr.Request) -> Reader:
        """Reads photos for one visitor."""
        return reader_of(
            self.access.hosts("", visitor),
            lambda: connection or self.access.connect("", "", visitor),
        )

    def by(self, visitor: gr.Request) -> str:
        """Who decides, for the table of decisions."""
        return self.access.origin(visitor) or getpass.getuser()

    def order(self, indexed: IndexedRun) -> tuple[int, ...]:
        """The indexed photos in the order of their review; it follows the boxes that count."""
        key = str(indexed.run.folder), indexed.run.model_version
        with self._lock:
            found = self._orders.get(key)
            if found is None or len(found) != len(indexed.photos):
                known = set(indexed.photos)
                found = tuple(image for image in review_order(indexed.run) if image in known)
                self._orders.put(key, found)
            return found
