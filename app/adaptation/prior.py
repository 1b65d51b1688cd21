"""Classes that a run was begun with: what an earlier run had learned, to begin from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.adaptation.export import read_adapted
from app.adaptation.region_table import Standard
from app.adaptation.words import Words
from app.runs.store import ADAPTED, Run
from detclipv2.inference.adapted_classes import AdaptedClasses, learned_columns
from detclipv2.language.vocabulary import Vocabulary


def adapted_of(run: Run) -> AdaptedClasses | None:
    """The classes that the run was begun with; None where words alone were asked.

    Raises:
        LearnedError: its copy of the file is gone, or damaged.
    """
    return read_adapted(run.folder / ADAPTED) if run.settings.adapted else None


def prior_weights(
    adapted: AdaptedClasses, vocabulary: Vocabulary, words: Words, standard: Standard
) -> NDArray[np.float32]:
    """(K, F + 2) weights, see `learn`, for regions that are measured by this standard.

    Args:
        adapted: what was learned elsewhere, by another standard.
        vocabulary: K classes.
        words: the same as numbers.
        standard: of this run.
    """
    found: NDArray[np.float32] = np.zeros((len(words.names), len(standard.mean) + 2), np.float32)
    known = adapted.of(vocabulary.returned, torch.from_numpy(words.embeddings))
    learned = learned_columns(known)
    if learned is None:
        return found
    columns, weights = (one.numpy() for one in learned)
    mean, deviation = adapted.mean.numpy(), adapted.deviation.numpy()
    by_number = weights[:, :-2] / deviation
    found[columns, :-2] = by_number * standard.deviation
    found[columns, -2] = weights[:, -2]
    found[columns, -1] = weights[:, -1] + by_number @ (standard.mean - mean)
    return found


def one_after_the_other(prior: NDArray[Any], learned: NDArray[Any]) -> NDArray[np.float32]:
    """(K, F + 2) weights that move the words' logit as `prior` and then `learned` do."""
    factor = 1 + learned[:, -2:-1]
    found = prior * factor + learned
    found[:, -2:-1] = (1 + prior[:, -2:-1]) * factor - 1
    return np.asarray(found, np.float32)
