"""Logistic regression a class, from the words' scores on.

    z = z0 + Φ u,   Φ = (embedding, geometry, z0, 1) / √penalty,   minimise Σ loss(z) + |u|² / 2

z0 is the logit of the words' score, so that no review at all gives the words' scores. It is the
posterior mode under a normal prior that the words are right.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable
from detclipv2.inference.region_numbers import GEOMETRY


@dataclass(frozen=True)
class LearnSettings:
    """How far reviewed boxes may move a class from its words.

    Chosen on playing cards and fruit by `app.adaptation.simulate`.

    Attributes:
        embedding: penalty of the embedding's numbers, each standardised.
        geometry: of localisation, objectness, area and shape.
        word: of leaving the words' score out, or of counting it twice.
        bias: of the constant.
        negatives: regions that are not of the class, at most; a random choice, weighted.
        folds: of the cross-validation over photos.
        threads: classes that are learned at the same time.
    """

    embedding: float = 50.0
    geometry: float = 5.0
    word: float = 2.0
    bias: float = 0.5
    negatives: int = 2000
    folds: int = 5
    threads: int = 2

    def scales(self, width: int) -> NDArray[np.float32]:
        """(width,) what each column of Φ is multiplied with."""
        penalties = [self.embedding] * (width - GEOMETRY - 2) + [self.geometry] * GEOMETRY
        return np.array([*penalties, self.word, self.bias], np.float32) ** -0.5


@dataclass(frozen=True, eq=False)
class Learned:
    """Weights of K classes, and what each says of photos that it was not learned from.

    Attributes:
        weights: (K, D + GEOMETRY + 2) float32 of (embedding, geometry, z0, 1), u / √penalty; zeros
            are the words.
        held_out: (N, K) float32 logits of the regions that were reviewed, by the other folds.
    """

    weights: NDArray[np.float32]
    held_out: NDArray[np.float32]


def scores(table: RegionTable, weights: NDArray[Any]) -> NDArray[np.float32]:
    """(N, K) logits of learned classes."""
    z = table.words * (1 + weights[:, -2]) + weights[:, -1]
    return np.asarray(z + table.numbers @ weights[:, :-2].T, np.float32)


def learn(
    table: RegionTable,
    targets: NDArray[np.int8],
    settings: LearnSettings,
    random: np.random.Generator,
) -> Learned:
    """Learn all classes, and again without each fold of photos.

    Args:
        table: of the reviewed photos.
        targets: (N, K), see `reviewed_photo.targets`.
        settings: how.
        random: chooses folds and negatives.
    """
    fold_of_photo = random.permutation(table.photos) % settings.folds
    fold = fold_of_photo[table.photo]
    seeds = random.spawn(targets.shape[1])

    def one(k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return _learn_class(table, targets[:, k], k, fold, settings, seeds[k])

    with ThreadPoolExecutor(settings.threads) as pool:
        found = list(pool.map(one, range(targets.shape[1])))
    weights = np.stack([full for full, _ in found])
    held_out = np.empty_like(table.words)
    for number in range(settings.folds):
        rows = np.flatnonzero(fold == number)
        part = RegionTable(
            table.photo[rows], table.boxes[rows], table.numbers[rows], table.words[rows]
        )
        by_others = np.stack([folds[number] for _, folds in found])
        held_out[rows] = scores(part, by_others)
    return Learned(weights, held_out)


def _learn_class(
    table: RegionTable,
    target: NDArray[np.int8],
    k: int,
    fold: NDArray[np.int64],
    settings: LearnSettings,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (F,), and those without each fold (folds, F)."""
    width = table.numbers.shape[1] + 2
    positive, negative = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    full: NDArray[np.float32] = np.zeros(width, np.float32)
    folds = np.zeros((settings.folds, width), np.float32)
    if not len(positive):
        return full, folds
    weight = max(1.0, len(negative) / settings.negatives)
    if weight > 1:
        negative = random.choice(negative, settings.negatives, replace=False)
    rows = np.concatenate([positive, negative])
    y = (target[rows] == 1).astype(np.float32)
    w = np.where(y == 1, 1, weight).astype(np.float32)
    z0 = table.words[rows, k]
    design = np.hstack([table.numbers[rows], z0[:, None], np.ones((len(rows), 1), np.float32)])
    design *= settings.scales(width)
    full = fit(design, z0, y, w, full)
    for number in range(settings.folds):
        rest = fold[rows] != number
        if y[rest].any():
            folds[number] = fit(design[rest], z0[rest], y[rest], w[rest], full)
    return full * settings.scales(width), folds * settings.scales(width)


def fit(
    design: NDArray[np.float32],
    offset: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32],
    start: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Weights u (F,) that minimise Σ weight · loss(offset + design u, y) + |u|² / 2.

    Args:
        design: (N, F).
        offset: (N,) logits.
        y: (N,) 0 or 1.
        weight: (N,).
        start: (F,) first guess.
    """
    from scipy.optimize import minimize

    def objective(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = offset + design @ u.astype(np.float32)
        exponential = np.exp(-np.abs(z))
        loss = np.maximum(z, 0) - y * z + np.log1p(exponential)
        share = np.where(z >= 0, 1, exponential) / (1 + exponential)
        slope = (weight * (share - y)) @ design
        return float(weight @ loss + 0.5 * u @ u), slope.astype(np.float64) + u

    options = {"maxiter": 60, "gtol": 2e-3, "ftol": 3e-5, "maxcor": 20}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, np.float32)
