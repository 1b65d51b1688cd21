"""An index that grows while a run is worked off."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.index.photo_hash import perceptual_hash
from app.index.store import IndexHeader, IndexWriter, RegionIndex, RunIndexError
from app.runs.jobs import Keep
from app.runs.store import Run

if TYPE_CHECKING:
    from PIL import Image

    from app.runs.records import ImageRow
    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)

FOLDER = "index"
"""In the run's folder."""


def index_folder(run: Run) -> Path:
    """Where the run's index lies, or would."""
    return run.folder / FOLDER


def index_of(run: Run) -> RegionIndex:
    """The run's index, for reading.

    Raises:
        RunIndexError: there is none, or it cannot be read.
    """
    return RegionIndex(index_folder(run))


@contextmanager
def indexing(run: Run, detector: Detector[Any]) -> Iterator[Keep | None]:
    """What puts photos of the run into its index; None for a detector that has no regions.

    An index that cannot be written, for example on a full disk, is given up with a warning: the
    run's boxes go on without it.
    """
    from detclipv2.inference.predictor import Predictor

    if not isinstance(detector, Predictor):
        yield None
        return
    import torch

    from app.index.regions import choose_regions, photo_embedding

    header = IndexHeader(detector.region_fingerprints[0], detector.model.config.embed_dim)
    try:
        writer = IndexWriter(index_folder(run), header)
    except (RunIndexError, OSError) as error:
        log.warning("the run is not indexed: %s", error)
        yield None
        return
    with torch.inference_mode():
        concepts = detector.encode_texts(run.settings.vocabulary.texts)
        words = detector.model.words(concepts.to(detector.device)).float().cpu()
    open_ = True

    def keep(row: ImageRow, image: Image.Image, encoded: Any) -> None:
        nonlocal open_
        if not open_:
            return
        kept = choose_regions(encoded, words)
        photo = photo_embedding(encoded)
        try:
            writer.append(row.id, image.size, kept, photo, perceptual_hash(image))
        except OSError as error:
            open_ = False
            log.warning("photos from %s on are not indexed: %s", row.file_name, error)

    with writer:
        yield keep
