"""Which words a request to the live backend is about, and the version that says so."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.backend.label_config import ConfigLabels, prompted, read_labels
from app.labelstudio.backend.learned_state import LearnedState
from app.labelstudio.learn.calibrate import with_thresholds
from app.runs.model_version import ModelVersion
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.serving import DEFAULTS, DetectSettings

if TYPE_CHECKING:
    from detclipv2.detectors.protocol import Detector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """What a request asks for: the words, the settings, the version that says so."""

    vocabulary: Vocabulary
    settings: DetectSettings
    version: str


@dataclass(frozen=True)
class Queries:
    """What requests ask for, by their configuration and what labelers taught before.

    Attributes:
        state: typed prompts and learned thresholds.
        settings: what the detector is asked for; a configuration may have another threshold.
    """

    state: LearnedState
    settings: DetectSettings = DEFAULTS

    def of(
        self, detector: Detector[Any] | None, project: str, config: str, typed: str = ""
    ) -> Query:
        """The words: typed now, else typed before under the same labels, else the labels.

        Args:
            detector: looks for them; None while it loads.
            project: its number.
            config: its labeling configuration.
            typed: a labeler's prompt.

        Raises:
            ConfigError: the configuration has no labels for boxes.
            VocabularyError: what was typed cannot be used, or its labels.
        """
        labels = read_labels(config)
        settings = self.settings
        if labels.threshold is not None:
            settings = replace(settings, threshold=labels.threshold)
        if typed:
            vocabulary = prompted(typed, config, labels)
        elif (remembered := self._remembered(project, config, labels)) is not None:
            vocabulary = remembered
        elif labels.words:
            vocabulary = self._calibrated(detector, project, labels)
        else:
            raise ConfigError(
                "the labeling configuration has no <RectangleLabels> with labels; add some"
            )
        if detector is not None:
            vocabulary = detector.learned_thresholds(vocabulary)
        version = ModelVersion(
            detector.name if detector else "model",
            detector.fingerprint if detector else "loading",
            vocabulary.hash,
            settings,
        )
        return Query(vocabulary, settings, str(version))

    def _remembered(self, project: str, config: str, labels: ConfigLabels) -> Vocabulary | None:
        """What was typed before under the same labels, if it still can be used."""
        before = self.state.prompt(project)
        if before is None or before.config != config:
            return None
        try:
            return prompted(before.text, config, labels)
        except VocabularyError as error:
            log.warning("project %s: what was typed before is ignored: %s", project, error)
            return None

    def _calibrated(
        self, detector: Detector[Any] | None, project: str, labels: ConfigLabels
    ) -> Vocabulary:
        """The labels, with the thresholds that were learned for them."""
        if detector is None:
            return labels.vocabulary
        learned = self.state.learned(project, detector.fingerprint)
        # what the configuration says of a label goes before what was learned
        free = (one for one in learned if one.name not in labels.thresholds)
        return with_thresholds(labels.vocabulary, free)
