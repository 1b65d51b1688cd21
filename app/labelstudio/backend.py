"""The ML-backend protocol: Label Studio asks, the detector answers.

The server waits 1 s for a connection and for `/health`, 3 s for `/setup` and 100 s for `/predict`,
so the model loads in a thread of its own and bulk work belongs to `push`. A task that already has
a prediction of the present `model_version` is never asked for again, so it follows the words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.labelstudio.backend_labels import ConfigLabels, prompted, read_labels, typed_prompt
from app.labelstudio.backend_memory import Learned, Memory, Prompt
from app.labelstudio.calibrate import curves, propose, with_thresholds
from app.labelstudio.config_map import ConfigError, read_config
from app.labelstudio.connection import Connection, LabelStudioError
from app.labelstudio.images import TaskImages, address_of
from app.labelstudio.lessons import lessons
from app.labelstudio.payload import prediction
from app.labelstudio.pull import pull
from app.runs.files import SourceError
from app.runs.records import Box, ImageRef
from app.runs.settings import THRESHOLD, look_suffix
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

if TYPE_CHECKING:
    from detclipv2.inference.detectors import Detector

log = logging.getLogger(__name__)

_PATIENCE = 95.0
"""Seconds a prediction may wait for the model to load; the server gives up after 100."""


@dataclass(frozen=True)
class Wish:
    """What a request asks for: the words, the lowest score, the version that says so."""

    vocabulary: Vocabulary
    threshold: float
    version: str


class Backend:
    """One detector behind the protocol. Thread-safe.

    Args:
        load: loads the detector; called in a thread of its own.
        images: reads the tasks' images.
        connection: where labels are fetched from when Label Studio's “Start training” asks for it.
        threshold: lowest score unless the configuration says otherwise.
        size: long side the model sees, None for its own.
        tiles: above 1 so many tiles along the long side are looked at, too.
        memory: what labelers taught it before; None begins with nothing and keeps nothing.
    """

    def __init__(
        self, load: Callable[[], Detector[Any]], images: TaskImages, connection: Connection, *,
        threshold: float = THRESHOLD, size: int | None = None, tiles: int = 1,
        memory: Memory | None = None,
    ) -> None:  # fmt: skip
        self._images = images
        self._connection = connection
        self._threshold = threshold
        self._size, self._tiles = size, tiles
        self._detector: Detector[Any] | None = None
        self._problem = ""
        self._loaded = threading.Event()
        self._memory = memory or Memory()
        threading.Thread(target=self._load, args=(load,), daemon=True).start()

    def _load(self, load: Callable[[], Detector[Any]]) -> None:
        try:
            self._detector = load()
        except Exception as error:  # told to whoever asks
            log.exception("the model does not load")
            self._problem = str(error)
        self._loaded.set()

    @property
    def ready(self) -> bool:
        """Whether the model is there."""
        return self._detector is not None

    def health(self) -> dict[str, Any]:
        """Up, at once; says whether the model is there yet."""
        state = "ready" if self.ready else self._problem or "loading"
        return {"status": "UP", "model_class": "DetCLIPv2", "model": state}

    def setup(self, project: str, config: str) -> dict[str, Any]:
        """The version for a project's configuration; does not wait for the model."""
        try:
            version = self._wish(project, config, "").version
        except (ConfigError, VocabularyError) as error:
            log.warning("project %s: %s", project, error)
            version = "detclipv2"
        return {"model_version": version}

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], config: str, project: str,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """One answer a task, in order, empty where an image cannot be used.

        Raises:
            ConfigError: the configuration takes no boxes.
            VocabularyError: the prompt cannot be used.
            TimeoutError: the model is not loaded yet, or failed to.
        """
        typed = typed_prompt(context)
        detector = self._wait()
        wish = self._wish(project, config, typed)
        labels = read_config(config, wish.vocabulary)
        if typed:  # only now: what cannot be used must not come back with every request
            self._memory.keep_prompt(project, Prompt(typed, config))
        results = []
        for task in tasks:
            made: dict[str, Any] = {"model_version": wish.version, "score": 0.0, "result": []}
            url = address_of(task.get("data", {}), labels.target.data_key)
            if url is None:
                log.warning("task %s has no %r", task.get("id"), labels.target.data_key)
                results.append(made)
                continue
            ref = ImageRef(f"task {task.get('id')}", url, None, task.get("id"))
            try:
                boxes, size = self._look(detector, self._images.read(ref), wish)
            except (SourceError, OSError, ValueError) as error:
                # one answer a task: fewer, and the server throws all of them away
                log.warning("task %s: %s", task.get("id"), error)
                results.append(made)
                continue
            results.append(prediction(boxes, size, labels.target, labels.labels, wish.version))
        return {"results": results, "model_version": wish.version}

    def webhook(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the server tells: “Start training” learns thresholds; others are acknowledged.

        A prompt that was typed is forgotten when the project's labels change, not with its other
        settings: the server tells of all of them alike.
        """
        action = str(event.get("action", ""))
        about = event.get("project") or {}
        project = str(about.get("id", ""))
        if action == "START_TRAINING":
            threading.Thread(target=self._learn, args=(project,), daemon=True).start()
        elif action == "PROJECT_UPDATED":
            prompt = self._memory.prompt(project)
            if prompt is not None and about.get("label_config") != prompt.config:
                self._memory.keep_prompt(project, None)
        return {"status": "ok", "action": action}

    def _learn(self, project: str) -> None:
        """Thresholds from what labelers of the project accepted, for its next predictions."""
        try:
            detector = self._wait()
            used = lessons(pull(self._connection, int(project)), detector.fingerprint)
            proposals = tuple(propose(curve) for curve in curves(used.tasks).values())
            self._memory.keep_learned(project, Learned(detector.fingerprint, proposals))
        except (LabelStudioError, OSError, ValueError) as error:
            log.warning("project %s: no thresholds learned: %s", project, error)
            return
        log.info("project %s: %s", project, used.sentence())
        for one in proposals:
            log.info("project %s, %s: %s; %s", project, one.name, one.threshold, one.reason)

    def _wait(self) -> Detector[Any]:
        self._loaded.wait(_PATIENCE)
        if self._detector is None:
            raise TimeoutError(self._problem or "the model is still loading; try again in a minute")
        return self._detector

    def _wish(self, project: str, config: str, typed: str) -> Wish:
        """The words: typed now, else typed before under the same labels, else the labels."""
        labels = read_labels(config)
        threshold = self._threshold if labels.threshold is None else labels.threshold
        if typed:
            vocabulary = prompted(typed, config, labels)
        elif (remembered := self._remembered(project, config, labels)) is not None:
            vocabulary = remembered
        elif labels.words:
            vocabulary = self._calibrated(project, labels)
        else:
            raise ConfigError(
                "the labeling configuration has no <RectangleLabels> with labels; add some"
            )
        weights = self._detector.fingerprint[:8] if self._detector else "loading"
        name = self._detector.name if self._detector else "model"
        version = f"detclipv2-{name}@{weights}+v{vocabulary.hash[:8]}"
        version += look_suffix(self._size, self._tiles)
        if threshold != THRESHOLD:
            version += f"@{threshold:g}"
        return Wish(vocabulary, threshold, version)

    def _remembered(self, project: str, config: str, labels: ConfigLabels) -> Vocabulary | None:
        """What was typed before under the same labels, if it still can be used."""
        before = self._memory.prompt(project)
        if before is None or before.config != config:
            return None
        try:
            return prompted(before.text, config, labels)
        except VocabularyError as error:
            log.warning("project %s: what was typed before is ignored: %s", project, error)
            return None

    def _calibrated(self, project: str, labels: ConfigLabels) -> Vocabulary:
        """The labels, with the thresholds that were learned for them."""
        if self._detector is None:
            return labels.vocabulary
        learned = self._memory.learned(project, self._detector.fingerprint)
        # what the configuration says of a label goes before what was learned
        free = (one for one in learned if one.name not in labels.thresholds)
        return with_thresholds(labels.vocabulary, free)

    def _look(
        self, detector: Detector[Any], content: bytes, wish: Wish
    ) -> tuple[list[Box], tuple[int, int]]:
        encoded = detector.encode_image(content, self._size, self._tiles)
        found = detector.detect(encoded, wish.vocabulary, threshold=wish.threshold)
        boxes = [
            Box(str(name), float(score), (float(x1), float(y1), float(x2), float(y2)))
            for name, score, (x1, y1, x2, y2) in zip(
                found.data["class_name"],
                () if found.confidence is None else found.confidence,
                found.xyxy,
                strict=True,
            )
        ]
        return boxes, encoded.size
