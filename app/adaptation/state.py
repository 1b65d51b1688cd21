"""What a run has learned, as one file: arrays and a line of JSON, nothing that runs when read.

It is bound to the checkpoint whose regions it was learned from. Deleted, it is forgotten.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.adapt import Adapted, ClassReport
from app.adaptation.region_table import Standard
from app.adaptation.words import Words
from app.formats.atomic import write_bytes
from detclipv2.inference.region_numbers import GEOMETRY

FORMAT = 1
FILE = "learned.npz"
"""In the run's folder."""
_ARRAYS = ("embeddings", "mean", "deviation", "weights", "thresholds")
_MOST = 256 << 20
"""Bytes of a file, unpacked."""


class LearnedError(ValueError):
    """A file of learned classes that cannot be used; the message says what to do."""


@dataclass(frozen=True, eq=False)
class LearnedClasses:
    """All classes of a run.

    Attributes:
        checkpoint: hex digest of the model whose regions these are.
        vocabulary: hash of the words, without thresholds.
        words: that the scores begin from.
        standard: that the regions' numbers are measured by.
        adapted: weights, thresholds and reports.
        photos: that were reviewed.
    """

    checkpoint: str
    vocabulary: str
    words: Words
    standard: Standard
    adapted: Adapted
    photos: int

    def save(self, path: Path) -> None:
        """Write the file whole, or leave the old one.

        Raises:
            OSError: it cannot be written.
        """
        words, adapted = self.words, self.adapted
        head = {
            "format": FORMAT,
            "checkpoint": self.checkpoint,
            "vocabulary": self.vocabulary,
            "photos": self.photos,
            "counts": list(words.counts),
            "bias": words.bias,
            "scale": words.scale,
            "shift": words.shift,
            "classes": [asdict(report) for report in adapted.reports],
        }
        content = io.BytesIO()
        np.savez(
            content,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            embeddings=words.embeddings.astype(np.float32),
            mean=self.standard.mean.astype(np.float32),
            deviation=self.standard.deviation.astype(np.float32),
            weights=adapted.weights.astype(np.float32),
            thresholds=adapted.thresholds.astype(np.float64),
        )
        write_bytes(path, content.getvalue(), private=True)

    @classmethod
    def load(cls, path: Path) -> LearnedClasses | None:
        """Read the file; None where there is none.

        Raises:
            LearnedError: it is of another version, or damaged.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MOST:
                    raise LearnedError(f"{path} is larger than what a run learns; delete it")
            with np.load(path, allow_pickle=False) as stored:
                head = json.loads(stored["head"].tobytes())
                arrays = {name: stored[name] for name in _ARRAYS}
        except FileNotFoundError:
            return None
        except LearnedError:
            raise
        except (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile) as e:
            raise LearnedError(f"cannot read {path}: {e}; delete it, and learn again") from e
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise LearnedError(f"{path} was written by another version; delete it, and learn again")
        try:
            return _made(head, arrays)
        except (TypeError, ValueError, KeyError) as error:
            raise LearnedError(f"{path} is damaged: {error}; delete it, and learn again") from error


def _made(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> LearnedClasses:
    """The classes, if everything fits together."""
    reports = tuple(ClassReport(**one) for one in head["classes"])
    counts = tuple(int(count) for count in head["counts"])
    texts, width = arrays["embeddings"].shape
    numbers, classes = width + GEOMETRY, len(reports)
    shapes = ((texts, width), (numbers,), (numbers,), (classes, numbers + 2), (classes,))
    for name, shape in zip(_ARRAYS, shapes, strict=True):
        array = arrays[name]
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name} is no array of {shape} numbers")
    if sum(counts) != texts or len(counts) < classes or min(counts, default=0) < 1:
        raise ValueError(f"{counts} texts a class")
    names = tuple(str(report.name) for report in reports)
    calibration = (float(head[key]) for key in ("bias", "scale", "shift"))
    return LearnedClasses(
        str(head["checkpoint"]),
        str(head["vocabulary"]),
        Words(names, arrays["embeddings"], counts, *calibration),
        Standard(arrays["mean"], arrays["deviation"]),
        Adapted(arrays["weights"], arrays["thresholds"], arrays["thresholds"], reports),
        int(head["photos"]),
    )
