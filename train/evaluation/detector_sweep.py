"""A detector over many photos, once: rows on disk photo by photo, so that a killed run goes on.

Each process appends to two files of its own: boxes (`rank000.rows`, of `metrics.rows.ROW`) and,
after them, which photo they were of (`rank000.index`). What the index names is done.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from detclipv2.detectors.protocol import Detector
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from train.evaluation.metrics.rows import ANYTHING, ROW, Rows, join, make_rows
from train.loop.distributed import World

logger = logging.getLogger(__name__)

_ENTRY = np.dtype([("image", "<i8"), ("count", "<i8")])


@dataclass(frozen=True)
class Questions:
    """What a detector is asked in every photo: K prompts, and the category ids each answers for."""

    prompts: tuple[str, ...]
    categories: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, prompts: Sequence[str], ids: Sequence[int]) -> Questions:
        """One prompt a category; categories of the same words are asked for once."""
        known: dict[str, tuple[str, list[int]]] = {}
        for prompt, category in zip(prompts, ids, strict=True):
            text = " ".join(prompt.split())
            known.setdefault(text.casefold(), (text, []))[1].append(category)
        return cls(tuple(t for t, _ in known.values()), tuple(tuple(c) for _, c in known.values()))


@dataclass(frozen=True)
class Sweep:
    """How photos are looked at, and where the rows go.

    Attributes:
        size: long side of the network's input; None for the detector's own.
        tiles: above 1 so many tiles along a photo's long side are looked at, too.
        floor: lowest score of a kept box.
        nms_iou: of two boxes of a class that overlap by more than this the worse goes.
        boxes: most detections of a photo.
        proposals: most class-agnostic boxes of a photo, under the category `ANYTHING`.
        folder: where rows are kept until they are no longer needed; None for memory only.
        world: the processes that share the photos; more than one need a folder.
    """

    size: int | None = None
    tiles: int = 1
    floor: float = 0.01
    nms_iou: float = 0.6
    boxes: int = 100
    proposals: int = 100
    folder: Path | None = None
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        if self.world.size > 1 and self.folder is None:
            raise ValueError("several processes meet in a folder; name one with --out")

    def run(
        self, detector: Detector[Any], photos: Sequence[tuple[int, Path]], questions: Questions
    ) -> Rows | None:
        """Look at all photos, or at those that an earlier run has not done.

        Args:
            detector: of which only `encode_image`, `detect` and `propose` are called.
            photos: ids and files; every process must get the same list.
            questions: what is looked for.

        Returns:
            All rows, by photo; None in all processes but the first.

        Raises:
            ImageError: a photo cannot be read.
            ValueError: two runs wrote into one folder.
        """
        if self.folder is None:
            bar = tqdm(photos, unit="photo", leave=False, mininterval=5)
            return _sorted(join([self._look(detector, i, path, questions) for i, path in bar]))
        folder = self.folder / self._key(detector, photos, questions)
        folder.mkdir(parents=True, exist_ok=True)
        done = done_photos(folder)
        self.world.barrier()  # nobody appends before all have read
        mine = photos[self.world.rank :: self.world.size]
        left = [(i, path) for i, path in mine if i not in done]
        if len(left) < len(mine):
            logger.info("going on: %d of %d photos are done", len(mine) - len(left), len(mine))
        with _RowFile(folder, self.world.rank) as file:
            for image, path in tqdm(
                left, unit="photo", leave=False, mininterval=5, disable=not self.world.main
            ):
                file.append(image, self._look(detector, image, path, questions))
        self.world.barrier()
        return _sorted(read_rows(folder)) if self.world.main else None

    def _look(self, detector: Detector[Any], image: int, path: Path, questions: Questions) -> Rows:
        encoded = detector.encode_image(path, self.size, self.tiles)
        vocabulary = Vocabulary.of(questions.prompts)
        found = detector.detect(
            encoded, vocabulary, threshold=self.floor, nms_iou=self.nms_iou, max_boxes=self.boxes
        )
        kinds = np.asarray(found.class_id, dtype=int)
        counts = np.array([len(ids) for ids in questions.categories])[kinds]
        ids = [category for k in kinds for category in questions.categories[k]]
        parts = [
            make_rows(
                image,
                ids,
                *(np.repeat(a, counts, 0) for a in (found.xyxy, np.asarray(found.confidence))),
            )
        ]
        if self.proposals:
            found = detector.propose(encoded, vocabulary, max_boxes=self.proposals)
            parts.append(make_rows(image, ANYTHING, found.xyxy, np.asarray(found.confidence)))
        return join(parts)

    def _key(
        self, detector: Detector[Any], photos: Sequence[tuple[int, Path]], questions: Questions
    ) -> str:
        """Name of all that rows depend on: other settings never meet in a folder."""
        settings = {
            "detector": detector.fingerprint,
            "size": self.size,
            "tiles": self.tiles,
            "floor": self.floor,
            "nms_iou": self.nms_iou,
            "boxes": self.boxes,
            "proposals": self.proposals,
            "prompts": questions.prompts,
            "categories": questions.categories,
            "photos": [(image, path.name) for image, path in photos],
        }
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def lowest_score(detector: Detector[Any]) -> float:
    """A floor that hardly any box falls below that could count.

    Our raw scores are geometric means, so 0.01 lets through what 0.0001 does elsewhere.
    """
    if not isinstance(detector, Predictor):
        return 0.0001
    return float(detector.calibration.apply(torch.tensor(0.01)))


class _RowFile:
    """The files of one process; a photo that a kill cut off is cut away at the start."""

    def __init__(self, folder: Path, rank: int) -> None:
        stem = folder / f"rank{rank:03d}"
        index = _read_index(stem)
        self._rows = stem.with_suffix(".rows").open("ab")
        self._index = stem.with_suffix(".index").open("ab")
        self._rows.truncate(int(index["count"].sum()) * ROW.itemsize)
        self._index.truncate(index.nbytes)

    def __enter__(self) -> _RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._index.close()

    def append(self, image: int, rows: Rows) -> None:
        """Write one photo; it counts as done from the last line on."""
        self._rows.write(rows.tobytes())
        self._rows.flush()
        self._index.write(np.array([(image, len(rows))], _ENTRY).tobytes())
        self._index.flush()


def done_photos(folder: Path) -> set[int]:
    """Ids of the photos whose rows stand in a folder."""
    stems = folder.glob("rank*.index")
    return {image for stem in stems for image in _read_index(stem)["image"].tolist()}


def read_rows(folder: Path) -> Rows:
    """All rows of a folder.

    Raises:
        ValueError: a photo stands there twice.
    """
    stems = sorted(folder.glob("rank*.index"))
    indices = [_read_index(stem) for stem in stems]
    images = np.concatenate([np.zeros(0, _ENTRY), *indices])["image"]
    if len(np.unique(images)) < len(images):
        raise ValueError(f"two evaluations wrote into {folder} at once; delete it and start again")
    return join(
        [
            np.fromfile(stem.with_suffix(".rows"), ROW, count=int(index["count"].sum()))
            for stem, index in zip(stems, indices, strict=True)
        ]
    )


def _read_index(stem: Path) -> NDArray[np.void]:
    """The entries whose rows are whole."""
    index, rows = stem.with_suffix(".index"), stem.with_suffix(".rows")
    if not index.is_file() or not rows.is_file():
        return np.zeros(0, _ENTRY)
    entries = np.fromfile(index, _ENTRY)  # leaves out an entry that is not whole
    written = rows.stat().st_size // ROW.itemsize
    return entries[np.cumsum(entries["count"]) <= written]


def _sorted(rows: Rows) -> Rows:
    # However many processes wrote them, equal scores come in the same order.
    return rows[np.argsort(rows["image"], kind="stable")]
