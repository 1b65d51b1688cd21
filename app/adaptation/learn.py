"""Logistic regression a class, from the words' scores on.

    z = z0 + Φ u,   Φ = (embedding, geometry, z0, 1) / √penalty,   minimise Σ loss(z) + |u|² / 2

z0 is the logit of the words' score, so that no review at all gives the words' scores. It is the
posterior mode under a normal prior that the words are right. What is learned is how well a region
fits a thing of the class, see `reviewed_photo.targets`.
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

    Chosen on playing cards, fruit and odd ids of coco_dev, see docs/research_log.md.

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
    geometry: float = 50.0
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
    targets: NDArray[np.float32],
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
    target: NDArray[np.float32],
    k: int,
    fold: NDArray[np.int64],
    settings: LearnSettings,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (F,), and those without each fold (folds, F)."""
    width = table.numbers.shape[1] + 2
    positive, negative = np.flatnonzero(target > 0), np.flatnonzero(target == 0)
    full: NDArray[np.float32] = np.zeros(width, np.float32)
    if not len(positive):
        return full, np.zeros((settings.folds, width), np.float32)
    weight = max(1.0, len(negative) / settings.negatives)
    if weight > 1:
        negative = random.choice(negative, settings.negatives, replace=False)
    rows = np.concatenate([positive, negative])
    y = target[rows]
    w = np.where(y > 0, 1, weight).astype(np.float32)
    z0 = table.words[rows, k]
    design = np.hstack([table.numbers[rows], z0[:, None], np.ones((len(rows), 1), np.float32)])
    design *= settings.scales(width)
    full, folds = fit(design, z0, y, w, fold[rows], settings.folds)
    return full * settings.scales(width), folds * settings.scales(width)


def fit(
    design: NDArray[np.float32],
    offset: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32],
    fold: NDArray[np.int64],
    folds: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights u (F,) that minimise Σ weight · loss(offset + design u, y) + |u|² / 2.

    And (folds, F) those without each fold's rows: a few Newton steps from u, with the second
    derivative of the rows that are left at u. A fold without which nothing is positive has zeros.

    Args:
        design: (N, F).
        offset: (N,) logits.
        y: (N,) in 0..1.
        weight: (N,).
        fold: (N,) which each row is of.
        folds: how many.
    """
    u: NDArray[np.float32] = np.zeros(design.shape[1], np.float32)
    value, slope, curve = _derivatives(design, offset, y, weight, u)
    for _ in range(_STEPS):
        gram = (design * curve[:, None]).T @ design
        step = _solve(gram, slope + u)
        if float(step @ (slope + u)) < _CLOSE * len(design):
            break
        # Convex: some part of the step leads down.
        for part in (1, 0.5, 0.25, 0.125, 0.0625):
            new = u - part * step
            at_new = _derivatives(design, offset, y, weight, new)
            if at_new[0] <= value:
                break
        u, (value, slope, curve) = new, at_new
    found = np.zeros((folds, len(u)), np.float32)
    for number in range(folds):
        rest = fold != number
        if not y[rest].any():
            continue
        own, part_y, part_w = design[rest], y[rest], weight[rest]
        away = design[~rest]
        less = gram - (away * curve[~rest][:, None]).T @ away
        inverse = _inverse(less)
        found[number] = u
        for _ in range(_FOLD_STEPS):
            _, slope_there, _ = _derivatives(own, offset[rest], part_y, part_w, found[number])
            found[number] -= inverse @ (slope_there + found[number])
    return u, found


_STEPS, _FOLD_STEPS = 15, 4
_CLOSE = 1e-7
"""What a step has to gain, a row."""


def _derivatives(
    design: NDArray[np.float32],
    offset: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32],
    u: NDArray[np.float32],
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """What is minimised at u; of the loss alone the slope (F,), and each row's curvature (N,)."""
    z = offset + design @ u
    exponential = np.exp(-np.abs(z))
    loss = np.maximum(z, 0) - y * z + np.log1p(exponential)
    share = np.where(z >= 0, 1, exponential) / (1 + exponential)
    value = float(weight @ loss) + 0.5 * float(u @ u)
    return value, (weight * (share - y)) @ design, weight * share * (1 - share)


def _inverse(gram: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.linalg.inv(gram + np.eye(len(gram), dtype=np.float32)), np.float32)


def _solve(gram: NDArray[Any], slope: NDArray[Any]) -> NDArray[np.float32]:
    ridge = gram + np.eye(len(gram), dtype=np.float32)
    return np.asarray(np.linalg.solve(ridge, slope), np.float32)
