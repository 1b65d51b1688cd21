"""Working a run off: `process` looks at one image after the other, `Job` does it in a thread."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from app.progress import OnProgress, ignore_progress
from app.runs.files import SourceError
from app.runs.records import Counts, ImageRef, ImageRow, RunError, State
from app.runs.store import Run
from app.selection import choose_boxes
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, FLOOR, DetectSettings

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)

Keep = Callable[[ImageRow, "Image.Image", Any], None]
"""Takes an image's row, the image, and what the detector's `encode_image` gave, to keep of it."""
Keeping = Callable[[Run, "Detector[Any]"], AbstractContextManager[Keep | None]]
"""Opens a `Keep` for a run, as `app.index.build.indexing` does."""
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


def boxes_to_store(
    detector: Detector[Any],
    encoded: Any,
    vocabulary: Vocabulary,
    settings: DetectSettings,
    floor: float,
) -> sv.Detections:
    """All boxes of an encoded picture that a run stores; see `choose_boxes`."""
    table = detector.score_table(encoded, vocabulary.without_thresholds())
    return choose_boxes(table, vocabulary, settings, floor)


def process(
    run: Run,
    detector: Detector[Any],
    read: Reader,
    *,
    stop: Callable[[], bool] = lambda: False,
    keep: Keep | None = None,
) -> Generator[Outcome]:
    """Look at every pending image; one that cannot be used is written down and passed over.

    Args:
        run: where results go; it is held against other workers.
        detector: must have the checkpoint the run began with.
        read: gives an image's content.
        stop: asked before every image.
        keep: takes each image that was looked at, before its boxes are written.

    Raises:
        RunError: another worker holds the run, or the detector is not the run's.
    """
    from detclipv2.inference.images import ImageError, open_image

    settings = run.settings
    if settings.checkpoint not in detector.fingerprints:
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
                image = open_image(content, name=_place(row))
            except (SourceError, ImageError, OSError) as error:
                reason = str(error)
                run.fail(row, reason)
                yield Outcome(row, "failed", reason)
                continue
            try:
                asked = settings.detection
                encoded = detector.encode_image(image, *asked.encoding)
                found = boxes_to_store(detector, encoded, vocabulary, asked, settings.lowest)
            except (RuntimeError, MemoryError) as error:  # e.g. out of memory on one huge picture
                reason = f"the model failed: {str(error) or type(error).__name__}"
                run.fail(row, reason)
                yield Outcome(row, "failed", reason)
                continue
            if keep is not None:
                keep(row, image, encoded)
            digest = hashlib.sha256(content).hexdigest()
            state = run.save(row, found, digest, image.size, time.perf_counter() - start)
            yield Outcome(row, state, image=image)


def _place(row: ImageRow) -> str:
    return row.place if row.member is None else f"{row.place}, {row.member}"


def estimate(
    images: Sequence[ImageRef],
    detector: Detector[Any],
    read: Reader,
    vocabulary: Vocabulary,
    settings: DetectSettings = DEFAULTS,
    samples: int = 3,
    on_progress: OnProgress = ignore_progress,
) -> float:
    """Seconds that all of `images` will take, measured on a few of them after a warm-up on another.

    `on_progress` is called before each of those.

    Raises:
        SourceError: none of the samples could be used.
    """
    from detclipv2.inference.images import ImageError, open_image

    step = max(1, len(images) // (samples + 1))
    times: list[float] = []
    problem = "no images"
    chosen = images[::step][: samples + 1]
    for number, ref in enumerate(chosen):
        on_progress(number, len(chosen))
        start = time.perf_counter()
        try:
            image = open_image(read(ref), name=ref.file_name)
        except (SourceError, ImageError) as error:
            problem = str(error)
            continue
        encoded = detector.encode_image(image, *settings.encoding)
        boxes_to_store(detector, encoded, vocabulary, settings, FLOOR)
        times.append(time.perf_counter() - start)
    if not times:
        raise SourceError(f"none of {samples} samples could be read; the last: {problem}")
    measured = times[1:] or times
    return sum(measured) / len(measured) * len(images)


@dataclass(frozen=True)
class JobProgress:
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

    Args:
        run: what is worked off.
        detector: as for `process`.
        read: as for `process`.
        keeping: opens what `process` hands images to.
    """

    def __init__(
        self, run: Run, detector: Detector[Any], read: Reader, keeping: Keeping | None = None
    ) -> None:
        self.run = run
        self._keeping = keeping
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

    def progress(self) -> JobProgress:
        """Where it stands."""
        counts = self.run.counts()
        left = None
        if self._times:
            left = counts.pending * sum(self._times) / len(self._times)
        return JobProgress(self._phase, counts, left, self._last, self._problem)

    def _stop(self) -> bool:
        self._go.wait()
        return self._cancelled.is_set()

    def _work(self) -> None:
        try:
            opened = self._keeping and self._keeping(self.run, self._detector)
            with (
                opened or nullcontext() as keep,
                closing(
                    process(self.run, self._detector, self._read, stop=self._stop, keep=keep)
                ) as outcomes,
            ):
                start = time.perf_counter()
                for outcome in outcomes:
                    self._times.append(time.perf_counter() - start)
                    self._last = outcome.row.file_name
                    self._go.wait()  # a pause is not working time
                    start = time.perf_counter()
            self._phase = "cancelled" if self._cancelled.is_set() else "finished"
        except Exception as error:
            log.exception("detection job stopped")
            self._problem = str(error) or type(error).__name__
            self._phase = "broken"
