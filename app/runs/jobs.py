"""Working a run off: `process` looks at one image after the other, `Job` does it in a thread."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from app.progress import Tell, untold
from app.runs.files import SourceError
from app.runs.records import Counts, ImageRef, ImageRow, RunError, State
from app.runs.settings import FLOOR, THRESHOLD
from app.runs.store import Run
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)

Reader = Callable[[ImageRef], bytes]
"""Gives an image's file content; raises SourceError with the reason."""
Phase = Literal["waiting", "running", "paused", "cancelled", "finished", "broken"]

_RECENT = 50


@dataclass(frozen=True)
class Outcome:
    """What became of one image: its new state, why it failed, and the picture with its boxes."""

    row: ImageRow
    state: State
    reason: str = ""
    image: Image.Image | None = None


def look(
    detector: Detector[Any],
    image: Image.Image,
    vocabulary: Vocabulary,
    *,
    floor: float,
    threshold: float,
    nms_iou: float,
    max_boxes: int,
    size: int | None,
    tiles: int = 1,
) -> sv.Detections:
    """All boxes of a picture from `floor` up, after suppression within their class.

    Of very many the best are stored, where strong classes can crowd weak ones out. Those that the
    thresholds show are always among them: they are selected alone as `Predictor.predict` does.
    """
    import numpy as np
    import supervision as sv

    from detclipv2.inference.postprocess import MAX_CANDIDATES, candidates_for, select

    encoded = detector.encode_image(image, size, tiles)
    table = detector.score_table(encoded, vocabulary.without_thresholds())
    found = table.candidates(floor, MAX_CANDIDATES)
    boxes = select(found, threshold=floor, nms_iou=nms_iou, max_boxes=MAX_CANDIDATES)
    if len(found.scores) < MAX_CANDIDATES:
        return boxes
    most = candidates_for(max_boxes)
    above = table.candidates(threshold, most, vocabulary)
    extra = select(above, threshold=threshold, nms_iou=nms_iou, max_boxes=most)
    merged: sv.Detections = sv.Detections.merge([boxes, extra])
    assert merged.class_id is not None and merged.confidence is not None
    keys = np.column_stack([merged.class_id, merged.confidence, merged.xyxy])
    _, first = np.unique(keys, axis=0, return_index=True)
    order = first[np.argsort(-merged.confidence[first], kind="stable")]
    chosen = merged[order]
    assert isinstance(chosen, sv.Detections)
    return chosen


def process(
    run: Run, detector: Detector[Any], read: Reader, *, stop: Callable[[], bool] = lambda: False
) -> Generator[Outcome]:
    """Look at every pending image; one that cannot be used is written down and passed over.

    Args:
        run: where results go; it is held against other workers.
        detector: must have the checkpoint the run began with.
        read: gives an image's content.
        stop: asked before every image.

    Raises:
        RunError: another worker holds the run, or the detector is not the run's.
    """
    from detclipv2.inference.images import ImageError, open_image

    settings = run.settings
    if detector.fingerprint != settings.checkpoint:
        raise RunError(
            f"the run was begun with checkpoint {settings.checkpoint[:8]} and this model is "
            f"{detector.fingerprint[:8]}; load the same one, or start a new run"
        )
    vocabulary = settings.vocabulary
    with run.working():
        for row in run.images("pending"):
            if stop():
                return
            start = time.perf_counter()
            try:
                content = read(row.ref)
                image = open_image(content)
            except (SourceError, ImageError, OSError) as error:
                reason = str(error)
                if isinstance(error, ImageError):  # it knows the bytes, people know the file
                    reason = reason.replace(f"the {len(content)} bytes", _place(row))
                run.fail(row, reason)
                yield Outcome(row, "failed", reason)
                continue
            try:
                found = look(
                    detector,
                    image,
                    vocabulary,
                    floor=settings.lowest,
                    threshold=settings.threshold,
                    nms_iou=settings.nms_iou,
                    max_boxes=settings.max_boxes,
                    size=settings.size,
                    tiles=settings.tiles,
                )
            except (RuntimeError, MemoryError) as error:  # e.g. out of memory on one huge picture
                reason = f"the model failed: {str(error) or type(error).__name__}"
                run.fail(row, reason)
                yield Outcome(row, "failed", reason)
                continue
            digest = hashlib.sha256(content).hexdigest()
            state = run.save(row, found, digest, image.size, time.perf_counter() - start)
            yield Outcome(row, state, image=image)


def _place(row: ImageRow) -> str:
    return row.place if row.member is None else f"{row.place}, {row.member}"


def estimate(
    images: Sequence[ImageRef],
    detector: Detector[Any],
    read: Reader,
    prompts: str,
    size: int | None = None,
    tiles: int = 1,
    samples: int = 3,
    tell: Tell = untold,
) -> float:
    """Seconds that all of `images` will take, measured on a few of them after a warm-up on another.

    `tell` is called before each of those.

    Raises:
        SourceError: none of the samples could be used.
    """
    from detclipv2.inference.images import ImageError, open_image

    step = max(1, len(images) // (samples + 1))
    vocabulary = Vocabulary.parse(prompts)
    times: list[float] = []
    problem = "no images"
    chosen = images[::step][: samples + 1]
    for number, ref in enumerate(chosen):
        tell(number, len(chosen))
        start = time.perf_counter()
        try:
            image = open_image(read(ref))
        except (SourceError, ImageError) as error:
            problem = str(error)
            continue
        look(
            detector,
            image,
            vocabulary,
            floor=FLOOR,
            threshold=THRESHOLD,
            nms_iou=0.6,
            max_boxes=100,
            size=size,
            tiles=tiles,
        )
        times.append(time.perf_counter() - start)
    if not times:
        raise SourceError(f"none of {samples} samples could be read; the last: {problem}")
    measured = times[1:] or times
    return sum(measured) / len(measured) * len(images)


@dataclass(frozen=True)
class Progress:
    """A job at one moment; `seconds_left` is measured on the latest images, None before that."""

    phase: Phase
    counts: Counts
    seconds_left: float | None
    last: str = ""
    problem: str = ""

    @property
    def over(self) -> bool:
        """Whether the worker has stopped for good."""
        return self.phase in ("cancelled", "finished", "broken")


class Job:
    """A run being worked off in a thread of its own; pause, go on, cancel between images.

    A cancelled or broken job's run can be resumed by a new Job over the same folder.
    """

    def __init__(self, run: Run, detector: Detector[Any], read: Reader) -> None:
        self.run = run
        self._detector = detector
        self._read = read
        self._phase: Phase = "waiting"
        self._last = ""
        self._problem = ""
        self._go = threading.Event()
        self._go.set()
        self._cancelled = threading.Event()
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._thread = threading.Thread(target=self._work, name="detection-job", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._phase = "running"
        self._thread.start()

    def pause(self) -> None:
        """Stop after the present image until `resume`."""
        if self._phase == "running":
            self._go.clear()
            self._phase = "paused"

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._phase == "paused":
            self._phase = "running"
            self._go.set()

    def cancel(self) -> None:
        """Stop after the present image; what is done stays."""
        self._cancelled.set()
        self._go.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end; returns whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def progress(self) -> Progress:
        """Where it stands."""
        counts = self.run.counts()
        left = None
        if self._times:
            left = counts.pending * sum(self._times) / len(self._times)
        return Progress(self._phase, counts, left, self._last, self._problem)

    def _stop(self) -> bool:
        self._go.wait()
        return self._cancelled.is_set()

    def _work(self) -> None:
        try:
            with closing(
                process(self.run, self._detector, self._read, stop=self._stop)
            ) as outcomes:
                start = time.perf_counter()
                for outcome in outcomes:
                    self._times.append(time.perf_counter() - start)
                    self._last = outcome.row.file_name
                    self._go.wait()  # a pause is not working time
                    start = time.perf_counter()
            self._phase = "cancelled" if self._cancelled.is_set() else "finished"
        except Exception as error:
            log.exception("detection job stopped")
            self._problem = f"{type(error).__name__}: {error}"
            self._phase = "broken"
