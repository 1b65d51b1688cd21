"""What a run's words say of indexed regions: the scores that learning begins from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detclipv2.inference.adapted_classes import EDGE

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor
    from detclipv2.language.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Words:
    """A vocabulary as numbers.

    Attributes:
        names: K returned classes.
        embeddings: (T, D) float32 at the model's scale.
        counts: texts of each class, name and aliases, those of negatives last; they sum to T.
        bias: of the similarity.
        scale: of the calibration.
        shift: of the calibration.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    counts: tuple[int, ...]
    bias: float
    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, predictor: Predictor, vocabulary: Vocabulary) -> Words:
        """The text tower runs, if the texts are new to it."""
        import torch

        with torch.inference_mode():
            texts = predictor.encode_texts(vocabulary.texts).to(predictor.device)
            words = predictor.model.words(texts).float().cpu().numpy()
            bias = float(predictor.model.bias)
        calibration = predictor.calibration
        return cls(
            tuple(vocabulary.names),
            words,
            tuple(vocabulary.text_counts),
            bias,
            calibration.scale,
            calibration.bias,
        )

    def logits(self, embeddings: NDArray[Any], localisation: NDArray[Any]) -> NDArray[np.float32]:
        """(N, K) logits of the calibrated scores of regions: (N, D) embeddings, (N,) logits.

        Where a negative fits better than a class, the class has the lowest one.
        """
        similar = embeddings.astype(np.float32, copy=False) @ self.embeddings.T + self.bias
        starts = np.cumsum([0, *self.counts[:-1]])
        best = np.maximum.reduceat(similar, starts, axis=1)
        count = len(self.names)
        # The root of a product of shares, as a logit.
        half = 0.5 * (_log_sigmoid(best[:, :count]) + _log_sigmoid(localisation)[:, None])
        raw = half - np.log(-np.expm1(np.minimum(half, -1e-6)))
        found = np.clip(self.scale * raw + self.shift, -EDGE, EDGE)
        if best.shape[1] > count:
            found[best[:, :count] < best[:, count:].max(axis=1, keepdims=True)] = -EDGE
        return np.asarray(found, np.float32)


def _log_sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    # Several times faster than `np.logaddexp`, and as exact where it counts.
    return np.minimum(x, 0) - np.log(1 + np.exp(-np.abs(x)))
