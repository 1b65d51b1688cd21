"""What whole photos of a run look like, for orders and groups of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.index.build import index_folder
from app.index.store import RegionIndex, RunIndexError
from app.runs.store import Run


def photo_embeddings(run: Run) -> dict[int, NDArray[Any]]:
    """(D,) unit vectors by the photos' ids in the ledger; none where no index can be used."""
    try:
        index = RegionIndex(index_folder(run))
    except RunIndexError:
        return {}
    found = np.asarray(index.records["photo"])[index.places]
    return dict(zip(index.images.tolist(), found, strict=True))
