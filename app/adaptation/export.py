"""What a run has learned, for photos outside the run: detection, the live backend, ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from app.adaptation.state import FILE, LearnedClasses, LearnedError
from detclipv2.inference.adapted_classes import AdaptedClass, AdaptedClasses


def read_adapted(path: Path) -> AdaptedClasses:
    """The classes that learning changed, from a file or from a run's folder.

    Raises:
        LearnedError: there is no such file, or a damaged one.
    """
    file = path / FILE if path.is_dir() else path
    learned = LearnedClasses.load(file)
    if learned is None:
        raise LearnedError(f"there is no {file}; `detclipv2 learn RUN` makes one")
    return adapted_classes(learned, str(file.resolve()))


def adapted_classes(learned: LearnedClasses, source: str = "") -> AdaptedClasses:
    """The classes that learning changed, as a predictor takes them.

    Args:
        learned: of a run.
        source: the file that it was read from.
    """
    words, adapted = learned.words, learned.adapted
    ends = np.cumsum(words.counts).tolist()
    classes = []
    for k, report in enumerate(adapted.reports):
        if report.basis == "words":
            continue
        own = words.embeddings[ends[k] - words.counts[k] : ends[k]]
        weights = torch.from_numpy(adapted.weights[k].astype(np.float32))
        classes.append(
            AdaptedClass(
                report.name,
                torch.from_numpy(own.astype(np.float32)),
                round(report.threshold, 3),
                weights if report.basis == "reviewed boxes" else None,
            )
        )
    standard = learned.standard
    return AdaptedClasses(
        learned.checkpoint,
        torch.from_numpy(standard.mean.astype(np.float32)),
        torch.from_numpy(standard.deviation.astype(np.float32)),
        tuple(classes),
        source,
    )
