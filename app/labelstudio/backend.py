"""The ML-backend protocol: Label Studio asks, the detector answers.

The server waits 1 s for a connection and for `/health`, 3 s for `/setup` and 100 s for `/predict`,
so the model loads in a thread of its own and bulk work belongs to `push`. A task that already has
a prediction of the present `model_version` is never asked for again, so it follows the words.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from app.labelstudio.config_map import ConfigError, read_config
from app.labelstudio.images import TaskImages, address_of
from app.labelstudio.payload import prediction
from app.runs.records import Box, ImageRef
from app.runs.sources import SourceError
from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError

if TYPE_CHECKING:
    from detclipv2.inference.detectors import Detector

log = logging.getLogger(__name__)

_GUARD = HTTPBasic(auto_error=False)
Json = Annotated[dict[str, Any], Body()]

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
        threshold: lowest score unless the configuration says otherwise.
        size: long side the model sees, None for its own.
    """

    def __init__(
        self, load: Callable[[], Detector[Any]], images: TaskImages, *, threshold: float = 0.3,
        size: int | None = None,
    ) -> None:  # fmt: skip
        self._images = images
        self._threshold = threshold
        self._size = size
        self._detector: Detector[Any] | None = None
        self._problem = ""
        self._loaded = threading.Event()
        self._prompts: dict[str, str] = {}
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
        typed = _typed_prompt(context)
        if typed:
            self._prompts[project] = typed
        detector = self._wait()
        wish = self._wish(project, config, typed)
        labels = read_config(config, wish.vocabulary)
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
        """Notes what a project's labelers do; a changed project forgets the prompt typed before."""
        action = str(event.get("action", ""))
        if action == "PROJECT_UPDATED":
            self._prompts.pop(str(event.get("project", {}).get("id", "")), None)
        return {"status": "ok", "action": action}

    def _wait(self) -> Detector[Any]:
        self._loaded.wait(_PATIENCE)
        if self._detector is None:
            raise TimeoutError(self._problem or "the model is still loading; try again in a minute")
        return self._detector

    def _wish(self, project: str, config: str, typed: str) -> Wish:
        """The words: typed now, else typed before in this project, else the labels."""
        labels, thresholds, whole = _labels_of(config)
        threshold = self._threshold if whole is None else whole
        written = typed or self._prompts.get(project, "")
        if not written and not labels:
            raise ConfigError(
                "the labeling configuration has no <RectangleLabels> with labels; add some"
            )
        if written:
            vocabulary = Vocabulary.parse(written)
        else:
            classes = (
                ConceptClass(name, aliases, thresholds.get(name))
                for name, aliases in labels.items()
            )
            vocabulary = Vocabulary(tuple(classes))
        if written and len(labels) == 1 and not read_config(config, vocabulary).labels:
            # a single label stands for whatever the prompt says
            (label,) = labels
            texts = tuple(t for concept in vocabulary.returned for t in concept.texts)
            aliases = tuple(t for t in texts if t.casefold() != label.casefold())
            vocabulary = Vocabulary((ConceptClass(label, aliases),))
        weights = self._detector.fingerprint[:8] if self._detector else "loading"
        name = self._detector.name if self._detector else "model"
        version = f"detclipv2-{name}@{weights}+v{vocabulary.hash[:8]}"
        if threshold != 0.3:
            version += f"@{threshold:g}"
        return Wish(vocabulary, threshold, version)

    def _look(
        self, detector: Detector[Any], content: bytes, wish: Wish
    ) -> tuple[list[Box], tuple[int, int]]:
        encoded = detector.encode_image(content, self._size)
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


def build_backend(backend: Backend, login: tuple[str, str] | None = None) -> FastAPI:
    """The HTTP service.

    Args:
        backend: what answers.
        login: user and password of basic authentication, None for nobody to be asked.
    """

    def allowed(given: Annotated[HTTPBasicCredentials | None, Depends(_GUARD)]) -> None:
        if login is None:
            return
        said = (given.username, given.password) if given else ("", "")
        pairs = zip(said, login, strict=True)
        if not all([secrets.compare_digest(a.encode(), b.encode()) for a, b in pairs]):
            raise HTTPException(401, "wrong user or password", {"WWW-Authenticate": "Basic"})

    app = FastAPI(title="DetCLIPv2 ML backend", dependencies=[Depends(allowed)], docs_url=None)

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, Any]:
        return backend.health()

    @app.post("/setup")
    def setup(body: Json) -> dict[str, Any]:
        return backend.setup(_project(body), str(body.get("schema", "")))

    @app.post("/predict")
    def predict(body: Json) -> dict[str, Any]:
        params = body.get("params") or {}
        try:
            return backend.predict(
                body.get("tasks", []), str(body.get("label_config", "")), _project(body),
                params.get("context"),
            )  # fmt: skip
        except (ConfigError, VocabularyError) as error:
            raise HTTPException(422, str(error)) from error
        except TimeoutError as error:
            raise HTTPException(503, str(error)) from error

    @app.post("/webhook")
    def webhook(body: Json) -> dict[str, Any]:
        return backend.webhook(body)

    @app.post("/train")
    def train() -> dict[str, Any]:
        return {"status": "ok", "detail": "thresholds are learned by `app.cli calibrate`"}

    return app


def _project(body: Mapping[str, Any]) -> str:
    # "7.1699999999" is how the server writes project 7 and the time it was made
    return str(body.get("project") or "").split(".")[0]


def _typed_prompt(context: Mapping[str, Any] | None) -> str:
    """The text of a <TextArea> that a labeler has just entered."""
    for region in (context or {}).get("result") or ():
        text = (region.get("value") or {}).get("text")
        if text:
            return "\n".join(text) if isinstance(text, list) else str(text)
    return ""


def _labels_of(
    config: str,
) -> tuple[dict[str, tuple[str, ...]], dict[str, float], float | None]:
    """Labels with their predicted_values, thresholds of labels, threshold of the control.

    `model_score_threshold` is the attribute that Label Studio's own backends read.
    """
    from lxml import etree

    try:
        root = etree.fromstring(config.encode())
    except etree.XMLSyntaxError as error:
        raise ConfigError(f"the labeling configuration cannot be read: {error}") from error
    labels: dict[str, tuple[str, ...]] = {}
    own: dict[str, float] = {}
    whole: float | None = None
    taken: set[str] = set()
    for control in root.iter("RectangleLabels"):
        whole = _number(control.get("model_score_threshold"), whole)
        for label in control.iter("Label"):
            name = label.get("alias") or label.get("value") or ""
            words = [label.get("value") or "", *(label.get("predicted_values") or "").split(",")]
            if not name.strip() or name.casefold() in taken:
                continue
            taken.add(name.casefold())
            others = []
            for word in (re.sub(r"\s+", " ", word).strip() for word in words):
                if word and word.casefold() not in taken:
                    taken.add(word.casefold())
                    others.append(word)
            labels[name] = tuple(others)
            threshold = _number(label.get("model_score_threshold"), None)
            if threshold is not None:
                own[name] = threshold
    return labels, own, whole


def _number(text: str | None, otherwise: float | None) -> float | None:
    if text is None:
        return otherwise
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"model_score_threshold={text!r} is no number in 0..1") from error
    if not 0 <= value <= 1:
        raise ConfigError(f"model_score_threshold={text!r} must lie in 0..1")
    return value
