"""The ML-backend protocol: Label Studio asks, the detector answers.

The server waits 1 s for a connection and for `/health`, 3 s for `/setup` and 100 s for `/predict`,
so the model loads in a thread of its own and bulk work belongs to `push`. A task that already has
a prediction of the present `model_version` is never asked for again, so it follows the words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.labelstudio.api.config_map import read_config
from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.labeling_config import read_labeling_config
from app.labelstudio.api.payload import prediction, read_regions
from app.labelstudio.backend.answers import Answer, Answers
from app.labelstudio.backend.label_config import Typed, typed_prompt
from app.labelstudio.backend.learned_state import Learned, LearnedState, Prompt
from app.labelstudio.backend.prompts import Queries
from app.labelstudio.learn.proposals import proposals_of
from app.labelstudio.learn.pull import pull
from app.lru import LRUCache
from app.runs.model_version import NAME
from detclipv2.language.vocabulary import VocabularyError
from detclipv2.serving import DEFAULTS, DetectSettings

if TYPE_CHECKING:
    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)

_PATIENCE = 80.0
"""Seconds a prediction may wait for the model to load; the server gives up after 100."""

_TRAININGS = 4
"""Projects that are learned from at once."""
_PROJECTS = 1000
"""Projects whose annotations are counted; of more, those reported last."""
_REVIEWS = 5
"""Annotations of a project after which what can be learned from them is learned."""
_SUBMITTED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


class Backend:
    """One detector behind the protocol. Thread-safe.

    Args:
        load: loads the detector; called in a thread of its own.
        images: reads the tasks' images.
        connection: where labels are fetched from when Label Studio's “Start training” asks for it.
        settings: what the detector is asked for; a configuration may have another threshold.
        state: what labelers taught it before; None begins with nothing and keeps nothing.
        follow: gives the detector as it is by now, before each request; None for the same one.
        learn: learns more than thresholds from a project's labels, after them; None for nothing.
    """

    def __init__(
        self,
        load: Callable[[], Detector[Any]],
        images: TaskImages,
        connection: Connection,
        *,
        settings: DetectSettings = DEFAULTS,
        state: LearnedState | None = None,
        follow: Callable[[Any], Detector[Any]] | None = None,
        learn: Callable[[Any, int], None] | None = None,
    ) -> None:
        self._answers = Answers(images)
        self._connection = connection
        self._follow, self._learn_more = follow, learn
        self._detector: Detector[Any] | None = None
        self._problem = ""
        self._loaded = threading.Event()
        self._state = state or LearnedState()
        self._queries = Queries(self._state, settings)
        self._training: set[str] = set()
        self._submitted: LRUCache[str, int] = LRUCache(_PROJECTS)
        self._training_lock = threading.Lock()
        threading.Thread(target=self._load, args=(load,), daemon=True).start()

    def _load(self, load: Callable[[], Detector[Any]]) -> None:
        try:
            self._detector = load()
        except Exception as error:  # every request is answered with it
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
            version = self._queries.of(self._current(), project, config).version
        except (ConfigError, VocabularyError) as error:
            log.warning("project %s: %s", project, error)
            version = NAME
        return {"model_version": version}

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        config: str,
        project: str,
        context: Sequence[Mapping[str, Any]] | None = None,
    ) -> Iterator[Answer]:
        """One answer a task, in order.

        Args:
            tasks: with their data.
            config: the labeling configuration.
            project: its number.
            context: regions that a labeler has just entered, of the only task.

        Raises:
            ConfigError: the configuration takes no boxes.
            VocabularyError: its labels cannot be used.
            TimeoutError: the model is not loaded yet, or failed to.
        """
        read = read_labeling_config(config)
        typed = typed_prompt(context, read)
        detector = self._wait()
        if typed is not None:
            yield self._typed(detector, typed, tasks, config, project)
        elif context:
            query = self._queries.of(detector, project, config)
            drawn = read_regions(context, (100, 100))
            yield self._answers.inside(detector, drawn, tasks, config, query)
        else:
            query = self._queries.of(detector, project, config)
            labels = read_config(config, query.vocabulary)
            for task in tasks:
                yield self._answers.whole(detector, task, labels, query)

    def message(
        self, config: str, context: Sequence[Mapping[str, Any]] | None, message: str
    ) -> Answer | None:
        """An answer that shows these words to a labeler; None where nothing can show them."""
        try:
            typed = typed_prompt(context, read_labeling_config(config))
        except ConfigError:
            return None
        return None if typed is None else prediction([], NAME) | {"result": [typed.answer(message)]}

    def forget_prompt(self, project: str) -> bool:
        """Make the project's labels count again; returns whether a prompt was kept."""
        kept = self._state.prompt(project) is not None
        self._state.keep_prompt(project, None)
        return kept

    def webhook(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the server reports: “Start training” learns; others are acknowledged.

        Where more than thresholds is learned, every few annotations do the same.

        A prompt that was typed is forgotten when the project's labels change, not with its other
        settings: the server reports all of them alike.
        """
        action = str(event.get("action", ""))
        about = event.get("project") or {}
        project = str(about.get("id", ""))
        if action == "START_TRAINING":
            self._train(project)
        elif action in _SUBMITTED and self._learn_more is not None:
            if self._counted(project) % _REVIEWS == 0:
                self._train(project)
        elif action == "PROJECT_UPDATED":
            prompt = self._state.prompt(project)
            if prompt is not None and about.get("label_config") != prompt.config:
                self._state.keep_prompt(project, None)
        return {"status": "ok", "action": action}

    def _counted(self, project: str) -> int:
        """How many annotations of a project were reported."""
        with self._training_lock:
            count = (self._submitted.get(project) or 0) + 1
            self._submitted.put(project, count)
            return count

    def _train(self, project: str) -> None:
        """Begin to learn, unless the same is under way."""
        with self._training_lock:
            if project in self._training or len(self._training) >= _TRAININGS:
                return
            self._training.add(project)
        threading.Thread(target=self._learn, args=(project,), daemon=True).start()

    def _learn(self, project: str) -> None:
        """Thresholds from what labelers of the project accepted, for its next predictions."""
        try:
            detector = self._wait()
            found = proposals_of(
                pull(self._connection, int(project)), checkpoint=detector.fingerprint
            )
            learned = Learned(detector.fingerprint, found.proposals)
            self._state.keep_learned(project, learned)
            if self._learn_more is not None:
                self._learn_more(detector, int(project))
        except (LabelStudioError, OSError, RuntimeError, ValueError) as error:
            log.warning("project %s: not everything was learned: %s", project, error)
            return
        finally:
            with self._training_lock:
                self._training.discard(project)
        log.info("project %s: %s", project, found.reviews.sentence())
        for one in found.proposals:
            log.info("project %s, %s: %s; %s", project, one.name, one.threshold, one.reason)

    def _current(self) -> Detector[Any] | None:
        """The detector with all that was learned by now; None before it is loaded."""
        if self._detector is None or self._follow is None:
            return self._detector
        return self._follow(self._detector)

    def _wait(self) -> Detector[Any]:
        self._loaded.wait(_PATIENCE)
        detector = self._current()
        if detector is None:
            raise TimeoutError(self._problem or "the model is still loading; try again in a minute")
        return detector

    def _typed(
        self,
        detector: Detector[Any],
        typed: Typed,
        tasks: Sequence[Mapping[str, Any]],
        config: str,
        project: str,
    ) -> Answer:
        """Follow a prompt, or say why not; it is kept once a label takes one of its classes."""
        if typed.resets:
            kept = self.forget_prompt(project)
            message = "the project's labels count again" if kept else "the project's labels count"
            return prediction([], NAME) | {"result": [typed.answer(message)]}
        try:
            query = self._queries.of(detector, project, config, typed.text)
            labels = read_config(config, query.vocabulary)
        except (ConfigError, VocabularyError) as error:
            return prediction([], NAME) | {"result": [typed.answer(str(error))]}
        self._state.keep_prompt(project, Prompt(typed.text, config))
        answer = self._answers.whole(detector, tasks[0], labels, query) if tasks else []
        if isinstance(answer, dict) and labels.missing:
            message = f"no label takes {', '.join(labels.missing)}; the others are looked for"
            answer["result"].append(typed.answer(message))
        return answer
