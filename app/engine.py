"""The one engine of an app: a model, its lock, and the photos it has encoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from app.engine_types import Aligned, ClassReport, Result
from app.lru import LRUCache
from app.photo_cache import PhotoCache, ReportProgress
from app.selection import choose_boxes
from detclipv2.inference.alignment import EVIDENCE, AlignSettings
from detclipv2.inference.images import open_image
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings, Looks

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from detclipv2.inference.adapted_classes import AdaptedClasses
    from detclipv2.inference.encoded_image import EncodedImage
    from detclipv2.inference.predictor import Predictor
    from detclipv2.inference.score_table import ScoreTable
    from detclipv2.language.phrases import Phrase

_VOCABULARIES = 32
_TABLES = 256 << 20
"""Bytes of scores that are kept; those of 1,203 classes on one photo are 30 MB."""
_TableKey = tuple[str, str, int | None, int, Looks]
"""The photo's key, the vocabulary's hash, and what the image tower was asked for."""


class Engine:
    """One model for all visitors of a page, and for the command line.

    Photos are cached by their content: the same file again, other words, or a moved threshold run
    no image tower. Thread-safe; one detection at a time, since the model uses all cores.

    Attributes:
        defaults: what a photo is asked for where visitors choose nothing else.
        list_defaults: likewise for lists of classes over many photos, see `ServingConfig`.

    Args:
        predictor: the model on its device.
        name: how users know the model.
        changes: what whoever started it chose, where visitors choose nothing else.
        photos: how many photos' outputs are kept.
        evidence: least evidence of a phrase that counts as being in a photo.
        weights: the checkpoint folder, an absolute path; empty for a shipped model.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        name: str,
        changes: DetectChanges | None = None,
        photos: int = 8,
        evidence: float = EVIDENCE,
        weights: str = "",
    ) -> None:
        self.predictor = predictor
        self.name = name
        self.weights = weights
        self.defaults = replace(DEFAULTS, **(changes or {}))
        self.list_defaults = replace(predictor.list_defaults, **(changes or {}))
        self.evidence = evidence
        self.fingerprint = predictor.fingerprint
        self.milliseconds: float | None = None
        self._photos = PhotoCache(predictor, photos)
        self._tables: LRUCache[_TableKey, ScoreTable] = LRUCache(
            4 * photos, weight=lambda table: table.bytes, most=_TABLES
        )
        self._vocabulary = lru_cache(maxsize=_VOCABULARIES)(predictor.vocabulary)
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        model: str,
        changes: DetectChanges | None = None,
        *,
        device: str = "auto",
        photos: int | None = None,
        adapted: AdaptedClasses | None = None,
    ) -> Engine:
        """The engine of a shipped model ("nano") or of a checkpoint folder, see `open_predictor`.

        Raises:
            DetectorError: no such model, a damaged one, or one that cannot run on the device.
            ValueError: `adapted` was learned from another model's regions.
        """
        from detclipv2.checkpoint import inspect
        from detclipv2.detectors.open import is_shipped, open_predictor

        predictor = open_predictor(model, device=device, photos=photos).adapted(adapted)
        measured = inspect(model)["card"].get("abstention", {}).get("threshold", EVIDENCE)
        folder = "" if is_shipped(model) else str(Path(model).resolve())
        name = Path(model).name if Path(model).name not in ("", "..") else Path(folder).name
        return cls(predictor, name=name, changes=changes, evidence=float(measured), weights=folder)

    @property
    def adapted(self) -> str:
        """The file that learned classes were read from; empty for none."""
        scores = self.predictor.adapted_scores
        return "" if scores is None else scores.adapted.source

    @property
    def checkpoint(self) -> str:
        """The first 8 hex digits of the weights' digest."""
        return self.fingerprint[:8]

    def sides(self, looks: Looks | None = None) -> tuple[int, ...]:
        """Long sides in pixels of the looks at a large photo, the first one's first.

        Args:
            looks: which ones; None for the engine's defaults.
        """
        settings = self.defaults if looks is None else replace(self.defaults, looks=looks)
        return self.predictor.model.serving.sides_for(settings)

    @property
    def has_looks(self) -> bool:
        """Whether fast and thorough looks differ."""
        return self.sides("fast") != self.sides("thorough")

    def milliseconds_of(self, looks: Looks) -> float | None:
        """The image tower's time for a photo on this machine; None before it was measured."""
        return self._photos.times.milliseconds(looks)

    @property
    def pixels(self) -> str:
        """Long sides of what the model sees, for people: "448 px" or "448 + 640 px"."""
        return f"{' + '.join(map(str, self.sides()))} px"

    def vocabulary(self, prompts: str | Vocabulary) -> Vocabulary:
        """What the model makes of prompts, which are parsed once; see `Predictor.vocabulary`.

        Raises:
            VocabularyError: prompts that cannot be used.
        """
        return self._vocabulary(prompts)

    @property
    def image_passes(self) -> int:
        """How often the image tower has run."""
        return self.predictor.image_passes

    def detect(
        self,
        source: str | Path,
        prompts: str | Vocabulary,
        settings: DetectSettings,
        progress: ReportProgress | None = None,
    ) -> Result:
        """Find `prompts` in the photo in file `source`.

        Raises:
            ImageError: the photo cannot be read.
            VocabularyError: the prompts cannot be used.
        """
        # not `progress or …`: gr.Progress has a length, 0, and so counts as false
        report = (lambda *_, **__: None) if progress is None else progress
        start = time.perf_counter()
        vocabulary = self.vocabulary(prompts)
        with self._lock:
            passes = self.image_passes
            photo, encoded = self._photos.encode(source, report, settings)
            report(0.8, desc="Comparing with your words")
            detections, best = self._choose(photo.key, encoded, vocabulary, settings)
            ran = self.image_passes > passes
        report(0.95, desc="Drawing")
        class_id = np.zeros(0, int) if detections.class_id is None else detections.class_id
        shown = np.bincount(class_id, minlength=len(vocabulary.returned))
        classes = tuple(
            ClassReport(concept.name, concept.threshold, int(count), score)
            for concept, count, score in zip(vocabulary.returned, shown, best, strict=True)
        )
        seconds = time.perf_counter() - start
        return Result(
            detections, classes, vocabulary, settings, photo.size, photo.key, seconds, ran
        )

    def align(
        self,
        source: str | Path,
        words: str | Sequence[str | Phrase],
        settings: AlignSettings | None = None,
        *,
        caption: str = "",
        whole: bool = True,
        progress: ReportProgress | None = None,
    ) -> Aligned:
        """Which regions of the photo in file `source` the words found; see `Predictor.align`.

        Raises:
            ImageError: the photo cannot be read.
            ValueError: words or settings that cannot be used.
        """
        report = (lambda *_, **__: None) if progress is None else progress
        start = time.perf_counter()
        with self._lock:
            passes = self.image_passes
            photo, encoded = self._photos.encode_whole(source, report, self.defaults)
            report(0.7, desc="Comparing phrases with regions")
            found = self.predictor.align(encoded, words, settings, caption=caption, whole=whole)
            maps = self.predictor.similarity_maps(encoded, found.phrases)
            ran = self.image_passes > passes
        box = encoded.letterbox
        share = (box.scaled[0] / box.padded[0], box.scaled[1] / box.padded[1])
        return Aligned(found, maps, share, photo.key, time.perf_counter() - start, ran)

    def predict(
        self, image: Image.Image, vocabulary: Vocabulary, settings: DetectSettings
    ) -> sv.Detections:
        """The boxes of one picture that will not be asked about again; nothing is kept."""
        return self.predictor.predict(image, vocabulary, settings)

    def preview(self, source: str | Path) -> tuple[Image.Image, tuple[int, int]]:
        """A copy of the photo of at most `PREVIEW` px, and the original's (width, height)."""
        with self._lock:
            photo = self._photos.get(source)
        return photo.preview, photo.size

    def measure(self, source: str | Path, prompts: str) -> float:
        """Milliseconds from file to boxes, after one warm-up; kept as `milliseconds`.

        Where fast and thorough looks differ, the image tower is measured with both.
        """
        vocabulary, name = self.vocabulary(prompts), Path(source).name
        other: Looks = "fast" if self.defaults.looks == "thorough" else "thorough"
        for _ in range(2):
            start = time.perf_counter()
            image = open_image(source, name=name)
            encoded = self._photos.encode_image(image, self.defaults)
            self.predictor.detect(encoded, vocabulary, self.defaults)
            self.milliseconds = 1000 * (time.perf_counter() - start)
            if self.has_looks:
                self._photos.encode_image(image, replace(self.defaults, looks=other))
        assert self.milliseconds is not None
        return self.milliseconds

    def facts(self) -> dict[str, Any]:
        """The model in plain JSON values."""
        return {
            "model": self.name,
            "checkpoint": self.fingerprint,
            **self._seen(self.defaults),
            "device": str(self.predictor.device),
            "runtime": self.predictor.runtime,
            "milliseconds_per_photo": self.milliseconds and round(self.milliseconds, 1),
            "milliseconds_of_looks": {
                looks: self.milliseconds_of(looks) for looks in get_args(Looks)
            },
        }

    def describe(self, vocabulary: Vocabulary, settings: DetectSettings) -> dict[str, Any]:
        """What a dataset must say of how its boxes were made, for COCO's `info`."""
        return {
            "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": self.name,
            "checkpoint": self.fingerprint,
            **self._seen(settings),
            "prompts": vocabulary.serialise(),
            "vocabulary": vocabulary.hash,
            "notes": list(vocabulary.notes),
            "threshold": settings.threshold,
            "nms_iou": settings.nms_iou,
            "max_boxes": settings.max_boxes,
            "tiles": settings.tiles,
            "runtime": self.predictor.runtime,
        }

    def _seen(self, settings: DetectSettings) -> dict[str, Any]:
        sides = self.predictor.model.serving.sides_for(settings)
        return {"size": sides[0], "looks": list(sides)}

    def _choose(
        self, key: str, encoded: EncodedImage, vocabulary: Vocabulary, settings: DetectSettings
    ) -> tuple[sv.Detections, tuple[float | None, ...]]:
        """Detections, and each class's best score before any threshold."""
        bare = vocabulary.without_thresholds()
        asked = key, bare.hash, *settings.encoding
        table = self._tables.get(asked)
        if table is None:
            table = self.predictor.score_table(encoded, bare)
            self._tables.put(asked, table)
        return choose_boxes(table, vocabulary, settings), table.best
