"""What a run has learned, for photos outside the run: detection, the live backend, ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from app.adaptation.state import FILE, LearnedClasses, LearnedError
from app.runs.store import ADAPTED
from detclipv2.inference.adapted_classes import AdaptedClass, AdaptedClasses


def learned_file(path: Path) -> Path:
    """The file of a run's folder: what it learned, else what it was begun with; or the file."""
    if not path.is_dir():
        return path
    begun_with = path / ADAPTED
    return begun_with if begun_with.exists() and not (path / FILE).exists() else path / FILE


def read_adapted(path: Path) -> AdaptedClasses:
    """The classes that learning changed, from a file or from a run's folder.

    Raises:
        LearnedError: there is no such file, or a damaged one.
    """
    file = learned_file(path)
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
        moved = bool(adapted.weights[k].any())
        if report.basis == "words" and not moved:
            continue
        own = words.embeddings[ends[k] - words.counts[k] : ends[k]]
        weights = torch.from_numpy(adapted.weights[k].astype(np.float32))
        classes.append(
            AdaptedClass(
                report.name,
                torch.from_numpy(own.astype(np.float32)),
                round(report.threshold, 3),
                weights if moved else None,
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
